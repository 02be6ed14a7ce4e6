"""The chaos harness can be trusted: what breaks a promise about decisions is found."""

from __future__ import annotations

import pytest

from tests.chaos.history import Attempt, Unexpected
from tests.chaos.outages import Part
from tests.chaos.stored import OutboxRow, Record
from tests.chaos.verdict import Broken
from tests.unit.chaos.chaos_days import END, Day, good_day, signal


@pytest.fixture
def day() -> Day:
    return good_day()


def test_a_good_day_has_no_violation(day: Day) -> None:
    assert day.violations() == set()


def test_too_few_decisions_are_no_proof(day: Day) -> None:
    assert [v.broken for v in day.verdict(decisions=4).violations] == [Broken.TOO_FEW]


def test_a_confirmed_decision_without_a_row_is_lost(day: Day) -> None:
    del day.stored.requests["outside"]
    assert Broken.LOST in day.violations()


@pytest.mark.parametrize("status", [200, 409])
def test_a_decision_confirmed_differently_from_the_row_is_lost(day: Day, status: int) -> None:
    attempt = next(a for a in day.history.attempts if a.status == status)
    attempt.answered_status = "rejected"
    assert day.violations() == {Broken.LOST}


def test_a_200_for_the_other_verb_is_found(day: Day) -> None:
    day.attempt("rest").verb = "reject"
    assert day.violations() == {Broken.LOST}


def test_a_410_for_a_decided_request_is_found(day: Day) -> None:
    attempt = day.history.attempts[1]
    attempt.status, attempt.answered_status = 410, None
    assert day.violations() == {Broken.LOST}


def test_a_404_for_a_request_that_was_open_is_found(day: Day) -> None:
    attempt = day.history.attempts[1]
    attempt.status, attempt.answered_status = 404, None
    assert day.violations() == {Broken.LOST}


def test_two_first_answers_are_one_too_many(day: Day) -> None:
    day.history.attempts[1] = Attempt("outside", "b", "approve", None, 100, 101, 200, "approved")
    assert day.violations() == {Broken.DOUBLED}


def test_a_decision_that_nobody_was_told_of_is_found(day: Day) -> None:
    day.attempt("rest").status = 409
    assert day.violations() == {Broken.LOST}


def test_a_lost_first_answer_excuses_a_decision_without_one(day: Day) -> None:
    attempt = day.attempt("rest")
    attempt.status, attempt.broken = 409, 1
    assert day.violations() == set()
    assert day.counted("decided, answer lost") == 1


def test_a_second_audit_record_of_a_decision_is_doubled(day: Day) -> None:
    day.row("rest").records.append(Record("request:rejected", 100.5))
    assert day.violations() == {Broken.DOUBLED}


@pytest.mark.parametrize("event", ["request:opened", "request:approved"])
def test_a_missing_audit_record_is_found(day: Day, event: str) -> None:
    row = day.row("rest")
    row.records = [record for record in row.records if record.event != event]
    assert day.violations() == {Broken.DISAGREE}


def test_an_audit_that_differs_from_the_row_is_found(day: Day) -> None:
    day.row("rest").records[1].event = "request:rejected"
    assert day.violations() == {Broken.DISAGREE}


def test_a_decision_without_outbox_entry_is_lost(day: Day) -> None:
    day.row("rest").outbox.clear()
    assert day.violations() == {Broken.LOST}


def test_a_second_outbox_entry_is_doubled(day: Day) -> None:
    day.row("rest").outbox.append(OutboxRow(signal("rest"), "pending"))
    assert day.violations() == {Broken.DOUBLED}


def test_an_outbox_that_tells_something_else_is_found(day: Day) -> None:
    day.row("rest").outbox[0].signal = signal("rest", "rejected")
    assert day.violations() == {Broken.DISAGREE}


def test_an_outbox_entry_that_is_no_signal_is_found(day: Day) -> None:
    day.row("rest").outbox[0].signal = signal("rest", more=1)
    assert day.violations() == {Broken.SHAPE}


def test_an_expiry_with_an_outbox_entry_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.records[1].event = "expired", "expired", "request:expired"
    assert {Broken.LOST} <= day.violations()


def test_a_request_pending_after_its_time_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.expires_at = "pending", "pending", END - 10
    row.records.pop()
    row.outbox.clear()
    assert Broken.LATE in day.violations()


def test_a_pending_request_with_an_end_in_the_audit_is_found(day: Day) -> None:
    day.row("rest").status = day.row("rest").in_redis = "pending"
    assert "rest is pending, the audit has ['request:approved']" in day.said()


def test_a_stale_key_in_redis_is_found(day: Day) -> None:
    day.row("rest").in_redis = "pending"
    assert day.violations() == {Broken.DISAGREE}


def test_a_stale_key_of_an_expired_request_is_found(day: Day) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.records[1].event = "expired", "pending", "request:expired"
    assert "rest is expired, in Redis pending" in day.said()
    day.away(Part.LINK, 99.0, 103.0)
    assert "rest is expired, in Redis pending" in day.said()


@pytest.mark.parametrize(("after", "is_found"), [(0.5, False), (2.0, True), (-1.0, True)])
def test_a_request_may_expire_between_the_two_readings(
    day: Day, after: float, *, is_found: bool
) -> None:
    row = day.row("rest")
    row.status, row.in_redis, row.expires_at = "pending", "expired", END + after
    row.records.pop()
    row.outbox.clear()
    day.stored.redis_read_at = END + 1
    assert ("rest is pending, in Redis expired" in day.said()) is is_found


def test_a_key_that_tells_another_decision_is_found(day: Day) -> None:
    day.row("rest").in_redis = "rejected"
    assert day.violations() == {Broken.DISAGREE}


def test_a_signal_key_of_an_older_request_is_found(day: Day) -> None:
    day.row("rest").session_id = "session-of-outside"
    day.stored.signals["session-of-outside"] = signal("outside")
    assert Broken.MISDELIVERED in day.violations()


def test_a_signal_key_of_another_shape_is_found(day: Day) -> None:
    day.stored.signals["session-of-rest"] = "approved"
    assert day.violations() == {Broken.SHAPE}


def test_a_signal_key_that_differs_from_the_row_is_found(day: Day) -> None:
    day.stored.signals["session-of-rest"] = signal("rest", "rejected")
    assert day.violations() == {Broken.DISAGREE}


def test_a_malformed_value_that_became_a_request_is_found(day: Day) -> None:
    day.history.malformed.append("rest")
    assert day.violations() == {Broken.DISAGREE}


def test_a_broken_chain_is_found(day: Day) -> None:
    day.stored.are_chains_whole = False
    assert day.violations() == {Broken.CHAIN}


def test_an_unexpected_answer_is_found(day: Day) -> None:
    day.history.unexpected.append(Unexpected(100.0, "500"))
    assert day.violations() == {Broken.UNEXPECTED}
