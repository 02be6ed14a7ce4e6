"""The chaos harness can be trusted: each kind of violation, made up, is found."""

from __future__ import annotations

import json

import pytest

from tests.chaos.history import Attempt, Frame, Listening, Subscription, Unexpected
from tests.chaos.outages import Part
from tests.chaos.run import Options, judge
from tests.chaos.stored import OutboxRow, Record, StoredEvent
from tests.chaos.verdict import Broken
from tests.unit.chaos_days import END, SESSION_NUMBER, Day, good_day, signal, tool


@pytest.fixture
def day() -> Day:
    return good_day()


def test_a_good_day_has_no_violation(day: Day) -> None:
    assert day.found() == set()


def test_too_few_decisions_are_no_proof(day: Day) -> None:
    verdict = judge(Options(decisions=4), day.history, day.stored)
    assert [v.broken for v in verdict.violations] == [Broken.TOO_FEW]


# --- decisions -------------------------------------------------------------------------------


def test_a_confirmed_decision_without_a_row_is_lost(day: Day) -> None:
    del day.stored.requests["outside"]
    assert Broken.LOST in day.found()


@pytest.mark.parametrize("status", [200, 409])
def test_a_decision_confirmed_differently_from_the_row_is_lost(day: Day, status: int) -> None:
    attempt = next(a for a in day.history.attempts if a.status == status)
    attempt.standing = "rejected"
    assert day.found() == {Broken.LOST}


def test_a_200_for_the_other_verb_is_found(day: Day) -> None:
    day.attempt("rest").verb = "reject"
    assert day.found() == {Broken.LOST}


def test_a_410_for_a_decided_request_is_found(day: Day) -> None:
    attempt = day.history.attempts[1]
    attempt.status, attempt.standing = 410, None
    assert day.found() == {Broken.LOST}


def test_a_404_for_a_request_that_was_open_is_found(day: Day) -> None:
    attempt = day.history.attempts[1]
    attempt.status, attempt.standing = 404, None
    assert day.found() == {Broken.LOST}


def test_two_first_answers_are_one_too_many(day: Day) -> None:
    day.history.attempts[1] = Attempt("outside", "b", "approve", None, 100, 101, 200, "approved")
    assert day.found() == {Broken.DOUBLED}


def test_a_decision_that_nobody_was_told_of_is_found(day: Day) -> None:
    day.attempt("rest").status = 409
    assert day.found() == {Broken.LOST}


def test_a_lost_first_answer_excuses_a_decision_without_one(day: Day) -> None:
    attempt = day.attempt("rest")
    attempt.status, attempt.broken = 409, 1
    assert day.found() == set()
    assert day.counted("decided, answer lost") == 1


def test_a_second_audit_record_of_a_decision_is_doubled(day: Day) -> None:
    day.row("rest").records.append(Record("request:rejected", 100.5))
    assert day.found() == {Broken.DOUBLED}


@pytest.mark.parametrize("event", ["request:opened", "request:approved"])
def test_a_missing_audit_record_is_found(day: Day, event: str) -> None:
    row = day.row("rest")
    row.records = [record for record in row.records if record.event != event]
    assert day.found() == {Broken.DISAGREE}


def test_an_audit_that_differs_from_the_row_is_found(day: Day) -> None:
    day.row("rest").records[1].event = "request:rejected"
    assert day.found() == {Broken.DISAGREE}


def test_a_decision_without_outbox_entry_is_lost(day: Day) -> None:
    day.row("rest").outbox.clear()
    assert day.found() == {Broken.LOST}


def test_a_second_outbox_entry_is_doubled(day: Day) -> None:
    day.row("rest").outbox.append(OutboxRow(signal("rest"), "pending"))
    assert day.found() == {Broken.DOUBLED}


def test_an_outbox_that_tells_something_else_is_found(day: Day) -> None:
    day.row("rest").outbox[0].signal = signal("rest", "rejected")
    assert day.found() == {Broken.DISAGREE}


def test_an_outbox_entry_that_is_no_signal_is_found(day: Day) -> None:
    day.row("rest").outbox[0].signal = signal("rest", more=1)
    assert day.found() == {Broken.SHAPE}


def test_an_expiry_with_an_outbox_entry_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.records[1].event = "expired", "expired", "request:expired"
    assert {Broken.LOST} <= day.found()


def test_a_request_pending_after_its_time_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.expires_at = "pending", "pending", END - 10
    row.records.pop()
    row.outbox.clear()
    assert Broken.LATE in day.found()


def test_a_pending_request_with_an_end_in_the_audit_is_found(day: Day) -> None:
    day.row("rest").status = day.row("rest").in_redis = "pending"
    assert "rest is pending, the audit has ['request:approved']" in day.said()


def test_a_stale_key_in_redis_is_found(day: Day) -> None:
    day.row("rest").in_redis = "pending"
    assert day.found() == {Broken.DISAGREE}


def test_a_stale_key_of_an_expired_request_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.records[1].event = "expired", "pending", "request:expired"
    assert "rest is expired, in Redis pending" in day.said()
    day.away(Part.LINK, 99.0, 103.0)
    assert "rest is expired, in Redis pending" not in day.said()
    assert day.counted("ended while Redis was away, its key says pending") == 1


def test_a_key_that_tells_another_decision_is_found(day: Day) -> None:
    day.row("rest").in_redis = "rejected"
    assert day.found() == {Broken.DISAGREE}


def test_a_signal_key_of_an_older_request_is_found(day: Day) -> None:
    day.row("rest").session_id = "session-of-outside"
    day.stored.signals["session-of-outside"] = signal("outside")
    assert Broken.MISDELIVERED in day.found()


def test_a_signal_key_of_another_shape_is_found(day: Day) -> None:
    day.stored.signals["session-of-rest"] = "approved"
    assert day.found() == {Broken.SHAPE}


def test_a_signal_key_that_differs_from_the_row_is_found(day: Day) -> None:
    day.stored.signals["session-of-rest"] = signal("rest", "rejected")
    assert day.found() == {Broken.DISAGREE}


def test_a_malformed_value_that_became_a_request_is_found(day: Day) -> None:
    day.history.malformed.append("rest")
    assert day.found() == {Broken.DISAGREE}


def test_a_broken_chain_is_found(day: Day) -> None:
    day.stored.are_chains_whole = False
    assert day.found() == {Broken.CHAIN}


def test_an_unexpected_answer_is_found(day: Day) -> None:
    day.history.unexpected.append(Unexpected(100.0, "500"))
    assert day.found() == {Broken.UNEXPECTED}


# --- agents ----------------------------------------------------------------------------------


def test_another_requests_signal_is_found(day: Day) -> None:
    day.listening.heard = signal("rest")
    assert day.found() == {Broken.MISDELIVERED}


def test_another_requests_signal_after_a_wipe_is_counted_apart(day: Day) -> None:
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.listening.heard = signal("rest")
    day.away(Part.REDIS, 60.0, 61.0)
    assert day.found() == set()
    assert day.counted("another's answer after a wipe before adoption") == 1
    assert day.counted("wiped from Redis before adoption") == 1


@pytest.mark.parametrize(
    "heard",
    [
        "approved",
        "[]",
        '{"type":"expiry"}',
        signal("outside", more=1),
        signal("outside", timestamp=1.5),
        signal("outside", timestamp=True),
        signal("outside", status="rejected") + " ",
        json.dumps({"type": "approval", "requestId": "outside", "status": "rejected",
                    "timestamp": 1}),
    ],
)  # fmt: skip
def test_a_message_of_another_shape_is_found(day: Day, heard: str) -> None:
    day.listening.heard = heard
    assert day.found() & {Broken.SHAPE, Broken.DISAGREE}


def test_a_message_that_differs_from_the_row_is_found(day: Day) -> None:
    day.listening.heard = signal("outside", "rejected")
    assert day.found() == {Broken.DISAGREE}


def test_an_agent_that_hears_nothing_is_found(day: Day) -> None:
    day.listening.heard = day.listening.heard_at = None
    day.listening.subscriptions = [Subscription(50.0, 107.0)]
    assert day.found() == {Broken.LOST}


def test_an_agent_that_hears_late_is_found(day: Day) -> None:
    day.listening.heard_at = day.listening.subscriptions[0].ended = 107.0
    assert day.found() == {Broken.LATE}


def test_time_without_redis_does_not_count_for_agents_elsewhere(day: Day) -> None:
    day.listening.heard_at = day.listening.subscriptions[0].ended = 107.0
    day.away(Part.REDIS, 99.0, 103.0)
    assert day.found() == set()


def test_time_before_a_late_subscription_does_not_count(day: Day) -> None:
    day.listening.subscriptions = [Subscription(200.0, 201.0)]
    day.listening.heard_at = 201.0
    assert day.found() == set()


def test_a_silent_subscription_before_the_one_that_heard_is_found(day: Day) -> None:
    day.listening.subscriptions = [Subscription(50.0, 120.0), Subscription(121.0, 122.0)]
    day.listening.heard_at = 122.0
    assert day.found() == {Broken.LOST}


def test_a_question_given_up_is_counted_apart(day: Day) -> None:
    question = day.listening.question
    day.history.listenings[0] = Listening(question, [Subscription(50.0, 51.0)], abandoned_at=51.0)
    assert day.found() == set()
    assert day.counted("superseded: the agent asked again first") == 1


def test_a_request_that_is_never_adopted_is_found(day: Day) -> None:
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.history.listenings.clear()
    assert day.found() == {Broken.NOT_ADOPTED}


def test_a_request_adopted_late_is_found(day: Day) -> None:
    day.row("outside").records[0].at = 53.0
    assert day.found() == {Broken.LATE}


def test_a_wait_that_answers_something_else_is_found(day: Day) -> None:
    day.wait.status = "rejected"
    assert day.found() == {Broken.DISAGREE}


def test_a_wait_that_answers_late_is_found(day: Day) -> None:
    day.wait.ended_at = 107.0
    assert day.found() == {Broken.LATE}


def test_a_wait_that_never_answers_is_found(day: Day) -> None:
    day.wait.ended_at = day.wait.status = None
    assert day.found() == {Broken.LATE}


def test_time_without_the_database_does_not_count_for_waits(day: Day) -> None:
    day.wait.ended_at = 107.0
    day.away(Part.DATABASE, 99.0, 103.0)
    assert day.found() == set()


def test_a_wait_for_a_request_without_row_is_found(day: Day) -> None:
    del day.stored.requests["rest"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "rest"]
    assert day.found() == {Broken.LOST}


# --- streams ---------------------------------------------------------------------------------


def test_a_gap_is_found(day: Day) -> None:
    del day.stream.frames[2]
    assert day.found() == {Broken.GAP}


def test_a_first_event_that_is_missing_is_a_gap(day: Day) -> None:
    del day.stream.frames[0]
    assert day.found() == {Broken.GAP}


def test_a_repeat_is_found(day: Day) -> None:
    day.stream.frames.insert(3, day.stream.frames[2])
    assert day.found() == {Broken.REPEAT}


def test_done_before_the_last_events_is_a_gap(day: Day) -> None:
    del day.stream.frames[-3:-1]
    assert Broken.GAP in day.found()


def test_done_twice_is_a_repeat(day: Day) -> None:
    day.stream.frames.append(Frame(None, None, "[DONE]"))
    assert day.found() == {Broken.REPEAT}


def test_a_clean_end_without_done_is_found(day: Day) -> None:
    day.stream.frames.pop()
    assert day.found() == {Broken.STREAM}


def test_a_stream_without_end_is_found(day: Day) -> None:
    day.stream.ended = None
    assert day.found() == {Broken.STREAM}


def test_a_stream_without_events_is_found(day: Day) -> None:
    day.stream.frames.clear()
    assert day.found() == {Broken.STREAM}


def test_a_stream_of_a_session_that_is_not_there_is_found(day: Day) -> None:
    del day.stored.sessions[SESSION_NUMBER]
    assert day.found() == {Broken.STREAM}


def test_a_stream_that_goes_on_in_another_session_is_found(day: Day) -> None:
    day.stream.frames[3].id = ((SESSION_NUMBER + 1) << 20) + 1
    assert day.found() == {Broken.STREAM}


def test_an_event_that_differs_from_the_database_is_found(day: Day) -> None:
    day.stream.frames[3].data = json.dumps({"content": "Dome", "chunk": True})
    assert day.found() == {Broken.STREAM}


def test_events_that_are_not_numbered_through_are_found(day: Day) -> None:
    day.session.events[-1].sequence = 9
    assert day.found() == {Broken.GAP}


def test_a_session_that_never_ends_is_found(day: Day) -> None:
    day.session.status = "running"
    assert day.found() == {Broken.STREAM}


def test_a_question_asked_twice_is_found(day: Day) -> None:
    second = json.dumps({"requestId": "again", "stepId": "step_1"})
    day.session.events.append(StoredEvent(7, "hitl", second, 104.0))
    assert Broken.DOUBLED in day.found()


def test_a_question_without_a_request_is_found(day: Day) -> None:
    day.row("user").session_id = "elsewhere"
    assert "shows the questions ['user'], not its requests" in day.said()


def test_a_deed_done_twice_is_found(day: Day) -> None:
    day.session.events[3].name, day.session.events[3].payload = (
        "tool_execution",
        json.dumps(tool("success")),
    )
    assert Broken.DOUBLED in day.found()


def test_a_deed_without_a_yes_is_found(day: Day) -> None:
    row = day.row("user")
    row.status, row.in_redis, row.records[1].event = "rejected", "rejected", "request:rejected"
    assert "session-of-user acted without a yes" in day.said()


def test_an_ending_that_differs_from_the_row_is_found(day: Day) -> None:
    day.session.events[-1].payload = json.dumps({"status": "failed"})
    assert Broken.DISAGREE in day.found()


def test_an_agent_that_goes_on_late_is_found(day: Day) -> None:
    for event in day.session.events[2:]:
        event.at += 10
    assert day.found() == {Broken.LATE}


def test_a_server_that_died_gives_its_agents_time_to_be_taken_over(day: Day) -> None:
    for event in day.session.events[2:]:
        event.at += 10
    day.away(Part.SERVER, 95.0, 98.0, target=1)
    assert day.found() == set()
    for event in day.session.events[2:]:
        event.at += 15
    assert day.found() == {Broken.LATE}


def test_an_agent_that_never_goes_on_is_found(day: Day) -> None:
    del day.session.events[2:]
    assert Broken.LATE in day.found()
