"""The chaos harness can be trusted: what breaks a promise about streams is found."""

from __future__ import annotations

import json

import pytest

from tests.chaos.history import Frame
from tests.chaos.outages import Part
from tests.chaos.stored import StoredEvent
from tests.chaos.verdict import Broken
from tests.unit.chaos.chaos_days import SESSION_NUMBER, Day, good_day, tool


@pytest.fixture
def day() -> Day:
    return good_day()


def test_a_gap_is_found(day: Day) -> None:
    del day.stream.frames[2]
    assert day.violations() == {Broken.GAP}


def test_a_first_event_that_is_missing_is_a_gap(day: Day) -> None:
    del day.stream.frames[0]
    assert day.violations() == {Broken.GAP}


def test_a_repeat_is_found(day: Day) -> None:
    day.stream.frames.insert(3, day.stream.frames[2])
    assert day.violations() == {Broken.REPEAT}


def test_done_before_the_last_events_is_a_gap(day: Day) -> None:
    del day.stream.frames[-3:-1]
    assert Broken.GAP in day.violations()


def test_done_twice_is_a_repeat(day: Day) -> None:
    day.stream.frames.append(Frame(None, None, "[DONE]"))
    assert day.violations() == {Broken.REPEAT}


def test_a_clean_end_without_done_is_found(day: Day) -> None:
    day.stream.frames.pop()
    assert day.violations() == {Broken.STREAM}


def test_a_stream_without_end_is_found(day: Day) -> None:
    day.stream.ended = None
    assert day.violations() == {Broken.STREAM}


def test_a_stream_without_events_is_found(day: Day) -> None:
    day.stream.frames.clear()
    assert day.violations() == {Broken.STREAM}


def test_a_stream_of_a_session_that_is_not_there_is_found(day: Day) -> None:
    del day.stored.sessions[SESSION_NUMBER]
    assert day.violations() == {Broken.STREAM}


def test_a_stream_that_goes_on_in_another_session_is_found(day: Day) -> None:
    day.stream.frames[3].id = ((SESSION_NUMBER + 1) << 20) + 1
    assert day.violations() == {Broken.STREAM}


def test_an_event_that_differs_from_the_database_is_found(day: Day) -> None:
    day.stream.frames[3].data = json.dumps({"content": "Dome", "chunk": True})
    assert day.violations() == {Broken.STREAM}


def test_events_that_are_not_numbered_through_are_found(day: Day) -> None:
    day.session.events[-1].sequence = 9
    assert day.violations() == {Broken.GAP}


def test_a_session_that_never_ends_is_found(day: Day) -> None:
    day.session.status = "running"
    assert day.violations() == {Broken.STREAM}


def test_a_question_asked_twice_is_found(day: Day) -> None:
    second = json.dumps({"requestId": "again", "stepId": "step_1"})
    day.session.events.append(StoredEvent(7, "hitl", second, 104.0))
    assert Broken.DOUBLED in day.violations()


def test_a_question_without_a_request_is_found(day: Day) -> None:
    day.row("user").session_id = "elsewhere"
    assert "shows the questions ['user'], not its requests" in day.said()


def test_a_deed_done_twice_is_found(day: Day) -> None:
    day.session.events[3].name, day.session.events[3].payload = (
        "tool_execution",
        json.dumps(tool("success")),
    )
    assert Broken.DOUBLED in day.violations()


def test_a_deed_without_a_yes_is_found(day: Day) -> None:
    row = day.row("user")
    row.status, row.in_redis, row.records[1].event = "rejected", "rejected", "request:rejected"
    assert "session-of-user acted without a yes" in day.said()


def test_an_ending_that_differs_from_the_row_is_found(day: Day) -> None:
    day.session.events[-1].payload = json.dumps({"status": "failed"})
    assert Broken.DISAGREE in day.violations()


def test_an_agent_that_goes_on_late_is_found(day: Day) -> None:
    for event in day.session.events[2:]:
        event.at += 10
    assert day.violations() == {Broken.LATE}


def test_a_server_that_died_gives_its_agents_time_to_be_taken_over(day: Day) -> None:
    for event in day.session.events[2:]:
        event.at += 10
    day.away(Part.SERVER, 95.0, 98.0, target=1)
    assert day.violations() == set()
    for event in day.session.events[2:]:
        event.at += 15
    assert day.violations() == {Broken.LATE}


def test_an_agent_that_never_goes_on_is_found(day: Day) -> None:
    del day.session.events[2:]
    assert Broken.LATE in day.violations()
