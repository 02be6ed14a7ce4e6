"""Every way a session ends without a yes (wire.md, 4.4)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.prompts import DELETE_THREE, START_PATH, decide, names, read_request, start
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Response, request_bytes


@pytest.fixture(scope="module")
def hasty(
    tmp_path_factory: pytest.TempPathFactory, data_after_first_run: Path
) -> Iterator[RunningServer]:
    """Return a server whose questions expire after 2 s and whose streams beat every second."""
    env = {"HITL_DEFAULT_TIMEOUT_SECONDS": "2", "SSE_HEARTBEAT_SECONDS": "0.5"}
    data_dir = tmp_path_factory.mktemp("hasty") / "data"
    shutil.copytree(data_after_first_run, data_dir)
    running = RunningServer(data_dir, env=env)
    try:
        yield running.start()
    finally:
        running.end()


def test_unanswered_question_fails_the_session_and_expires(hasty: RunningServer) -> None:
    with start(hasty, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        after = list(stream.events())
    assert names(after) == ["failed", "error", "end", "[DONE]"]
    assert stream.ended == "clean"
    failed, error, end = (frame.json() for frame in after[:3])
    assert failed["errorType"] == error["errorType"] == "TimeoutError"
    assert (failed["requestId"], failed["sessionId"]) == (asked["requestId"], asked["sessionId"])
    assert end["status"] == "failed"
    assert read_request(hasty, asked["requestId"])["status"] == "expired"
    late = decide(hasty, "approve", asked["requestId"])
    assert (late.status, late.json()["errorCode"]) == (410, "E3002")
    assert hasty.redis().get(f"hitl:signal:{asked['sessionId']}") is None


def test_idle_stream_beats(hasty: RunningServer) -> None:
    with start(hasty, "POST", DELETE_THREE) as stream:
        frames = list(stream)
    asked = next(number for number, frame in enumerate(frames) if frame.event == "hitl")
    beats = [frame for frame in frames[asked:] if frame.is_comment]
    assert len(beats) >= 2


def test_request_expires_though_nobody_waits(hasty: RunningServer) -> None:
    body = {"sessionId": "nobody-waits", "actionType": "x", "timeoutSeconds": 1}
    opened = hasty.request("POST", "/api/aura/hitl/requests", hasty.headers(), body)
    assert opened.status == 201
    request_id = opened.json()["data"]["requestId"]
    # Not read in between: reading would expire it as well.
    key, deadline = f"hitl:request:{request_id}", time.monotonic() + 6
    while '"status":"expired"' not in str(hasty.redis().get(key)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_withdrawn_question_cancels_the_session(server: RunningServer) -> None:
    with start(server, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        path = f"/api/aura/hitl/requests/{asked['requestId']}/cancel"
        assert server.request("POST", path, server.headers()).status == 200
        after = list(stream.events())
    assert names(after) == ["error", "end", "[DONE]"]
    assert after[0].json()["errorType"] == "CancelledError"
    assert after[1].json()["status"] == "failed"


def test_cancelled_session_withdraws_its_question(server: RunningServer) -> None:
    with start(server, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        path = f"/api/aura/sessions/{asked['sessionId']}/cancel"
        answer = server.request("POST", path, server.headers())
        after = list(stream.events())
    assert (answer.status, answer.json()["data"]["status"]) == (200, "cancelled")
    assert names(after) == ["error", "end", "[DONE]"]
    assert after[0].json()["errorType"] == "CancelledError"
    assert read_request(server, asked["requestId"])["status"] == "cancelled"
    assert server.redis().get(f"hitl:signal:{asked['sessionId']}") is None
    late = decide(server, "reject", asked["requestId"])
    assert (late.status, late.json()["errorCode"]) == (410, "E3002")


def test_sessions_of_others_cannot_be_cancelled(server: RunningServer) -> None:
    with start(server, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        path = f"/api/aura/sessions/{asked['sessionId']}/cancel"
        colleague = server.request("POST", path, server.headers("mallory"))
        outsider = server.request("POST", path, server.headers("mallory", "tenant2", "admin"))
        decide(server, "reject", asked["requestId"])
        list(stream.events())
    assert (colleague.status, outsider.status) == (403, 404)


@pytest.mark.parametrize("form", ["GET", "POST", "attach"])
def test_stream_is_cut_where_its_token_ends_and_the_session_runs_on(
    server: RunningServer, form: str
) -> None:
    def ending() -> dict[str, str]:
        # It has run out already, and is accepted for as long as clocks may differ.
        now = int(time.time())
        token = server.token(iat=now - 600, exp=now + 3 - 30)
        return {"Authorization": f"Bearer {token}", "X-Tenant-ID": "tenant1"}

    if form == "attach":
        with start(server, "POST", DELETE_THREE) as stream:
            asked = stream.until("hitl")[-1]
        path = f"/api/aura/sessions/{asked.json()['sessionId']}/stream"
        opened = server.stream(path, headers := ending())
    else:
        opened = start(server, form, DELETE_THREE, headers := ending())
    with opened as stream:
        asked = stream.until("hitl")[-1]
        after = list(stream)

    assert stream.ended == "cut"
    assert [frame.raw for frame in after if not frame.is_comment] == []
    refused = server.get(f"{START_PATH}?message=x", headers)
    assert (refused.status, refused.json()["errorCode"]) == (401, "E2002")
    decide(server, "approve", asked.json()["requestId"])
    resumed = server.headers() | {"Last-Event-ID": str(asked.id)}
    with start(server, "POST", DELETE_THREE, resumed) as stream:
        rest = list(stream.events())
    assert names(rest)[-2:] == ["end", "[DONE]"]
    assert stream.ended == "clean"


def test_wait_answers_when_decided_and_202_when_not(server: RunningServer) -> None:
    body = {"sessionId": "waits", "actionType": "x"}
    opened = server.request("POST", "/api/aura/hitl/requests", server.headers(), body)
    request_id = opened.json()["data"]["requestId"]
    path = f"/api/aura/hitl/requests/{request_id}/wait"
    pending = server.get(f"{path}?timeout=1", server.headers())
    assert (pending.status, pending.json()["data"]["status"]) == (202, "pending")
    with server.connect() as connection:
        headers = {**server.headers(), "Connection": "close"}
        connection.send(request_bytes("GET", f"{path}?timeout=30", headers))
        time.sleep(0.5)
        decide(server, "approve", request_id)
        answer = Response.parse(connection.receive_all())
    assert (answer.status, answer.json()["data"]["status"]) == (200, "approved")
