"""Starting streams in either form, and deciding on what they ask."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Frame, Response, Stream

DELETE_THREE = "메일 3개를 삭제해주세요"
START_PATH = "/api/aura/test/stream"


def start(
    server: RunningServer,
    form: str,
    prompt: str,
    headers: dict[str, str] | None = None,
    path: str = START_PATH,
    **body: Any,
) -> Stream:
    """Start a stream by `GET` or by `POST`; `headers` default to user123's."""
    sent = headers or server.headers()
    if form == "GET":
        return server.stream(f"{path}?message={quote(prompt)}", sent)
    return server.stream(path, sent, {"prompt": prompt, **body}, method="POST")


def decide(
    server: RunningServer, verb: str, request_id: str, body: object = b"", **who: Any
) -> Response:
    """Approve or reject over REST; `who` as of `RunningServer.headers`."""
    path = f"/api/aura/hitl/{verb}/{request_id}"
    return server.request("POST", path, server.headers(**who), body)


def read_request(server: RunningServer, request_id: str) -> Any:
    """Return the request as 3.3 gives it: `data` is a JSON string."""
    answer = server.get(f"/aura/hitl/requests/{request_id}", server.headers())
    return json.loads(answer.json()["data"])


def names(frames: list[Frame]) -> list[str]:
    """Return what each frame is: its event's name, or `[DONE]`."""
    return [frame.event or str(frame.data) for frame in frames]
