"""The stream byte for byte: headers, frames, ids, payloads (wire.md, 4.2 to 4.4)."""

from __future__ import annotations

import json
import re

import pytest

from tests.acceptance.prompts import DELETE_THREE, START_PATH, decide, names, start
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Connection, Frame, request_bytes

TOP = ["type", "version", "timestamp", "sessionId"]
WORKSPACE = {
    "hitl": "hitl_request",
    "thought": "thought_chain",
    "tool_execution": "action_execution",
}


@pytest.fixture(scope="module")
def approved(server: RunningServer) -> list[Frame]:
    """Return every frame of a session with one approved question, comments too."""
    frames = []
    with start(server, "POST", DELETE_THREE) as stream:
        for frame in stream:
            frames.append(frame)
            if frame.event == "hitl":
                assert decide(server, "approve", frame.json()["requestId"]).status == 200
    return frames


@pytest.mark.parametrize("form", ["GET", "POST"])
@pytest.mark.parametrize("path", [START_PATH, "/aura/test/stream", "/agent/chat-stream"])
def test_stream_answers_with_exactly_these_headers(
    server: RunningServer, form: str, path: str
) -> None:
    with start(server, form, "test", path=path) as stream:
        assert stream.head.status == 200
        assert stream.head["Content-Type"] == "text/event-stream"
        assert stream.head["Cache-Control"] == "no-cache"
        assert stream.head["Connection"] == "keep-alive"
        assert stream.head["X-Accel-Buffering"] == "no"
        assert [name.lower() for name, _ in stream.head.fields].count("connection") == 1


def test_every_port_serves_the_stream(server: RunningServer) -> None:
    for port in server.ports:
        with server.stream(f"{START_PATH}?message=test", server.headers(), port=port) as stream:
            assert names(list(stream.events()))[-1] == "[DONE]"


def test_first_frame_is_the_connected_comment(approved: list[Frame]) -> None:
    assert approved[0].raw == b": connected\n\n"


def test_frames_have_one_space_after_colons_and_one_data_line(approved: list[Frame]) -> None:
    for frame in approved:
        if frame.is_comment:
            assert re.fullmatch(rb": [^\n]*\n\n", frame.raw)
        elif frame.is_done:
            assert frame.raw == b"data: [DONE]\n\n"
        else:
            compact = json.dumps(frame.json(), ensure_ascii=False, separators=(",", ":"))
            expected = f"id: {frame.id}\nevent: {frame.event}\ndata: {compact}\n\n"
            assert frame.raw == expected.encode()
        assert b"\r" not in frame.raw


def test_ids_are_integers_that_rise_and_fit_in_53_bits(approved: list[Frame]) -> None:
    ids = [frame.id for frame in approved if frame.id is not None]
    assert ids == sorted(set(ids))
    assert 0 < ids[0] < ids[-1] < 2**53
    assert len(ids) == sum(not frame.is_comment for frame in approved) - 1


def test_done_comes_once_last_and_the_answer_ends_cleanly(server: RunningServer) -> None:
    with Connection(server.connect().socket) as connection:
        connection.send(
            request_bytes(
                "GET",
                f"{START_PATH}?message=test",
                {**server.headers(), "Connection": "close"},
            )
        )
        raw = connection.receive_all()
    assert raw.count(b"data: [DONE]") == 1
    assert raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_payload_is_at_the_top_and_under_data(approved: list[Frame]) -> None:
    for frame in approved:
        if frame.event is None:
            continue
        payload = frame.json()
        assert list(payload)[:4] == TOP, frame.raw
        assert (payload["type"], payload["version"]) == (frame.event, "1.0")
        assert type(payload["timestamp"]) is int
        assert payload.get("event") == WORKSPACE.get(frame.event)
        fields = set(payload) - {*TOP, "event", "data"}
        if frame.event == "hitl":
            fields |= {"sessionId"}
        for field in fields - ({"status"} if frame.event == "tool_execution" else set()):
            assert payload["data"][field] == payload[field], (frame.event, field)
        assert ("content" in payload) == (frame.event in ("thought", "content"))


def test_payload_of_the_question_serves_every_client(approved: list[Frame]) -> None:
    payload = next(frame for frame in approved if frame.event == "hitl").json()
    assert payload["requestId"].startswith("req_")
    assert payload["params"] == payload["context"]
    assert payload["requiresApproval"] is True
    assert type(payload["expiresAt"]) is int
    assert payload["data"]["id"] == payload["requestId"]
    assert payload["data"]["action"] == payload["actionType"] == "delete_mail"
    assert payload["data"]["sessionId"] == payload["sessionId"]


def test_payload_of_a_tool_has_both_names(approved: list[Frame]) -> None:
    tools = [frame.json() for frame in approved if frame.event == "tool_execution"]
    for payload in tools:
        assert payload["tool"] == payload["toolName"]
        assert payload["params"] == payload["toolArgs"]
        assert payload["data"]["status"] in ("executing", "completed", "failed")
    assert tools[-1]["status"] == "success"
    assert tools[-1]["data"]["status"] == "completed"


def test_payload_of_thoughts_and_steps_has_the_workspace_names(approved: list[Frame]) -> None:
    for frame in approved:
        if frame.event == "thought":
            assert frame.json()["data"]["type"] == frame.json()["thoughtType"]
        if frame.event in ("plan_step", "plan_step_update", "timeline_step_update"):
            assert frame.json()["data"]["id"] == frame.json()["stepId"]


def test_content_comes_in_pieces_and_says_which_is_the_last(approved: list[Frame]) -> None:
    pieces = [frame.json() for frame in approved if frame.event == "content"]
    assert [piece["chunk"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    whole = "".join(piece["content"] for piece in pieces)
    assert len(pieces) > 1
    assert whole
    assert not any(piece["content"] == whole for piece in pieces)


def test_korean_is_sent_as_utf8_not_escaped(approved: list[Frame]) -> None:
    assert "메일".encode() in b"".join(frame.raw for frame in approved)


def test_reader_that_splits_lines_as_python_does_gets_whole_payloads(
    server: RunningServer,
) -> None:
    reason = "one\u2028two\u2029three\u0085four\x0b\x0c\x1c\x1d\x1e\r\n"
    frames = []
    with start(server, "POST", DELETE_THREE) as stream:
        for frame in stream:
            frames.append(frame)
            if frame.event == "hitl":
                decide(server, "reject", frame.json()["requestId"], {"reason": f"{reason}."})

    lines = b"".join(frame.raw for frame in frames).decode().splitlines()
    assert all(not line or line.startswith((": ", "id: ", "event: ", "data: ")) for line in lines)
    payloads = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    [error] = [said for said in map(json.loads, payloads) if said["type"] == "error"]
    assert error["error"] == f"{reason}."
