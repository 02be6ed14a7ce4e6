"""Coming back to a session (wire.md, 4.5)."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.prompts import DELETE_THREE, decide, names, start
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Frame


def come_back(
    server: RunningServer,
    last_event_id: object,
    *,
    form: str = "POST",
    prompt: str = DELETE_THREE,
    **who: str,
) -> list[Frame]:
    """Return the frames a client gets that saw `last_event_id` last, up to hitl or the end."""
    headers = {**server.headers(**who), "Last-Event-ID": str(last_event_id)}
    frames = []
    with start(server, form, prompt, headers, context={"rebuilt": True}) as stream:
        for frame in stream.events():
            frames.append(frame)
            if frame.event == "hitl":
                break
    return frames


@pytest.fixture(scope="module")
def finished(server: RunningServer) -> list[Frame]:
    """Return the frames of a session that was approved and has ended."""
    frames = []
    with start(server, "POST", DELETE_THREE) as stream:
        for frame in stream.events():
            frames.append(frame)
            if frame.event == "hitl":
                decide(server, "approve", frame.json()["requestId"])
    return frames


def bytes_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.raw for frame in frames)


def test_finished_session_replays_its_rest_from_every_cursor(
    server: RunningServer, finished: list[Frame]
) -> None:
    for position, frame in enumerate(finished[:-1]):
        headers = {**server.headers(), "Last-Event-ID": str(frame.id)}
        with start(server, "POST", DELETE_THREE, headers) as stream:
            rest = list(stream.events())
        assert bytes_of(rest) == bytes_of(finished[position + 1 :])
        assert stream.ended == "clean"


def test_dropped_connection_does_not_stop_the_work(server: RunningServer) -> None:
    with start(server, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1]
    assert decide(server, "approve", asked.json()["requestId"]).status == 200
    headers = {**server.headers(), "Last-Event-ID": str(asked.id)}
    with start(server, "POST", DELETE_THREE, headers) as stream:
        rest = list(stream.events())
    assert rest[0].id == asked.id + 1  # type: ignore[operator]
    assert "tool_execution" in names(rest)
    assert names(rest)[-2:] == ["end", "[DONE]"]


def test_client_that_comes_back_while_waiting_gets_the_rest_live(server: RunningServer) -> None:
    with start(server, "GET", DELETE_THREE) as stream:
        frames = stream.until("hitl")
    headers = {**server.headers(), "Last-Event-ID": str(frames[0].id)}
    with start(server, "GET", DELETE_THREE, headers) as stream:
        replayed = stream.until("hitl")
        assert bytes_of(replayed) == bytes_of(frames[1:])
        decide(server, "approve", frames[-1].json()["requestId"])
        live = list(stream.events())
    assert live[0].id == frames[-1].id + 1  # type: ignore[operator]
    assert names(live)[-2:] == ["end", "[DONE]"]


def test_get_may_go_on_where_post_began(server: RunningServer, finished: list[Frame]) -> None:
    frames = come_back(server, finished[0].id, form="GET")
    assert bytes_of(frames) == bytes_of(finished[1 : len(frames) + 1])


def test_two_clients_watch_one_session(server: RunningServer, finished: list[Frame]) -> None:
    session_id = finished[0].json()["sessionId"]
    path = f"/api/aura/sessions/{session_id}/stream"
    with server.stream(path, server.headers()) as stream:
        assert bytes_of(list(stream.events())) == bytes_of(finished)
    with server.stream(path, {**server.headers(), "Last-Event-ID": str(finished[2].id)}) as stream:
        assert bytes_of(list(stream.events())) == bytes_of(finished[3:])


@pytest.mark.parametrize("cursor", ["3", "event_123", "-1", "0", "1e9", str(2**53), "9" * 400])
def test_id_that_leads_nowhere_starts_a_new_session(
    server: RunningServer, finished: list[Frame], cursor: str
) -> None:
    frames = come_back(server, cursor)
    assert frames[0].event == "start"
    assert frames[0].json()["sessionId"] != finished[0].json()["sessionId"]


@pytest.mark.parametrize(
    "who",
    [{"user_id": "mallory"}, {"tenant_id": "tenant2"}, {"user_id": "mallory", "role": "admin"}],
)
def test_another_persons_id_starts_a_new_session(
    server: RunningServer, finished: list[Frame], who: dict[str, str]
) -> None:
    frames = come_back(server, finished[0].id, **who)
    assert frames[0].event == "start"
    assert frames[0].json()["sessionId"] != finished[0].json()["sessionId"]


def test_another_prompt_starts_a_new_session(server: RunningServer, finished: list[Frame]) -> None:
    frames = come_back(server, finished[0].id, prompt="메일 4개를 삭제해주세요")
    assert frames[0].event == "start"


@pytest.mark.parametrize("who", [{"user_id": "mallory"}, {"tenant_id": "tenant2"}])
def test_another_persons_session_is_not_found(
    server: RunningServer, finished: list[Frame], who: dict[str, str]
) -> None:
    session_id = finished[0].json()["sessionId"]
    answer = server.get(f"/api/aura/sessions/{session_id}/stream", server.headers(**who))
    missing = server.get("/api/aura/sessions/session_none/stream", server.headers(**who))
    assert answer.status == missing.status == 404
    assert _without_time(answer.body) == _without_time(missing.body)


def _without_time(body: bytes) -> dict[str, object]:
    members = json.loads(body)
    members.pop("timestamp")
    return dict(members)
