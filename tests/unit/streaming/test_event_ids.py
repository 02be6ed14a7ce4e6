"""Ids and frames of events (docs/reference/wire.md, 4.2, 4.3 and 4.5)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.sse import frames
from streaming import events

SESSION, SECONDS = "session_1", 1706152860

sessions_ = st.integers(1, 2**33 - 1)
sequences = st.integers(0, events.MAX_SEQUENCE)


@given(sessions_, sequences)
def test_event_id_leads_back_and_fits(session_pk: int, sequence: int) -> None:
    event_id = events.event_id(session_pk, sequence)

    assert event_id < 2**53
    assert events.cursor_of(str(event_id)) == (session_pk, sequence)


@given(sessions_, sequences, sequences)
def test_event_ids_rise_with_the_sequence(session_pk: int, one: int, other: int) -> None:
    ids = events.event_id(session_pk, one), events.event_id(session_pk, other)

    assert (ids[0] < ids[1]) == (one < other)


@given(st.text())
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    found = events.cursor_of(text)

    assert found is None or events.event_id(*found) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "3",
        "0",
        "event_123",
        "-1",
        "-1048577",
        "+1048577",
        "1048577.0",
        "1e9",
        " 1048577",
        "1048577\n",
        "1_048_577",
        "٣" * 8,
        "²" * 8,
        str(2**53),
        str(2**63),
        "9" * 17,
        "9" * 300,
        "9" * 5000,
        "1048577,2",
        "\x00",
    ],
    ids=lambda text: f"{text!a:.14} {len(text or '')}",
)
def test_id_that_leads_nowhere_is_no_cursor(text: str | None) -> None:
    assert events.cursor_of(text) is None


def test_largest_id_that_fits_is_a_cursor() -> None:
    assert events.cursor_of(str(2**53 - 1)) == (2**33 - 1, 2**20 - 1)


# --- frames -------------------------------------------------------------------------------


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
