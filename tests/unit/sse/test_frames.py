"""Frames of a stream, byte for byte (docs/reference/wire.md, 4.2 and 4.3)."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dwp_project.sse import frames
from streaming import events

SESSION, SECONDS = "session_1", 1706152860


def test_frame_is_these_bytes() -> None:
    assert frames.event(7, "thought", '{"a":"가"}') == (
        'id: 7\nevent: thought\ndata: {"a":"가"}\n\n'.encode()
    )


def test_frames_without_an_event_are_these_bytes() -> None:
    assert frames.CONNECTED == b": connected\n\n"
    assert frames.DONE == b"data: [DONE]\n\n"
    assert frames.HEARTBEAT.startswith(b": ")
    assert frames.HEARTBEAT.endswith(b"\n\n")
    assert frames.HEARTBEAT.count(b"\n") == 2


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_frame_of_any_text_has_one_data_line(text: str) -> None:
    fields = {"content": text, "chunk": True}
    data = events.payload("content", fields, session_id=SESSION, timestamp=SECONDS)

    frame = frames.event(7, "content", data)

    head, data_line, *rest = frame.split(b"\ndata: ")
    assert rest == []
    assert head == b"id: 7\nevent: content"
    assert data_line.count(b"\n") == 2
    assert b"\r" not in frame
    assert json.loads(data_line)["content"] == text


def test_frame_headers_are_those_of_the_contract() -> None:
    assert dict(frames.HEADERS) == {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "Connection": "keep-alive",
        "X-Accel-Buffering": "no",
    }


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_readers_that_split_lines_as_python_does_read_the_same(text: str) -> None:
    fields = {"content": text, "chunk": True}
    data = events.payload("content", fields, session_id=SESSION, timestamp=SECONDS)

    lines = frames.event(7, "content", data).decode().splitlines()

    assert lines[:2] == ["id: 7", "event: content"]
    assert lines[3:] == [""]
    assert json.loads(lines[2].removeprefix("data: ")) == json.loads(data)


def test_ends_of_lines_in_stored_events_are_escaped() -> None:
    assert frames.event(7, "x", '{"a":"\u2028\u2029\u0085"}') == (
        b'id: 7\nevent: x\ndata: {"a":"\\u2028\\u2029\\u0085"}\n\n'
    )
