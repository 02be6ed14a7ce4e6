"""The chaos harness can be trusted: an approval that another agent may take for its own is found,
and one that is withheld without a reason."""

from __future__ import annotations

import pytest

from tests.chaos.history import Attempt, Fate, Listening, Origin, Question, Subscription
from tests.chaos.outages import Part
from tests.chaos.stored import OutboxRow, Record, StoredRequest
from tests.chaos.verdict import Broken
from tests.unit.chaos.chaos_days import Day, good_day, signal

SESSION = "session-of-twins"


@pytest.fixture
def day() -> Day:
    """Return a run in which one agent asked at 200, another in the same session at 200.5, and only
    the newer was decided: approved at 210 and withheld."""
    day = good_day()
    _ask(day, "older", 200.0)
    _ask(day, "newer", 200.5)
    _approve(day, "newer", 210.0, "withheld")
    return day


def _ask(day: Day, name: str, at: float, *, until: float = 500.0) -> None:
    question = Question(name, SESSION, "tenant1", "user-1", Origin.OUTSIDE, Fate.ORDERED, at)
    question.written_at, question.is_channel_shared = at + 0.01, True
    day.history.questions[name] = question
    day.history.listenings.append(Listening(question, [Subscription(at + 0.02, until)]))
    records = [Record("request:adopted", at + 0.5)]
    number = len(day.stored.requests) + 1
    day.stored.requests[name] = StoredRequest(
        number, name, SESSION, "tenant1", "redis", "expired", at + 300, records, [], "expired"
    )
    records.append(Record("request:expired", at + 300))


def _approve(day: Day, name: str, at: float, outcome: str) -> None:
    row = day.row(name)
    row.status = row.in_redis = "approved"
    row.records[1] = Record("request:approved", at)
    row.outbox = [OutboxRow(signal(name), outcome, 1, int(outcome == "delivered"))]
    attempt = Attempt(name, "approver-1", "approve", None, at, at + 0.1, 200, "approved", outcome)
    attempt.key_status = "approved"
    day.history.attempts.append(attempt)


def _hear(day: Day, name: str, message: str, at: float) -> None:
    listening = _listening(day, name)
    listening.message, listening.received_at = message, at
    listening.subscriptions[-1].ended = at


def _listening(day: Day, name: str) -> Listening:
    return next(one for one in day.history.listenings if one.question.request_id == name)


def test_an_approval_withheld_for_an_older_questions_sake_is_right(day: Day) -> None:
    assert day.violations() == set()
    assert day.counted("X-DWP-Signal withheld") == 1
    assert day.counted("outbox withheld") == 1


def test_the_approval_of_another_request_is_found_whoever_hears_it(day: Day) -> None:
    _hear(day, "older", signal("newer"), 210.2)
    assert day.violations() == {Broken.MISDELIVERED}


def test_an_approval_sent_while_an_older_agent_waits_is_found(day: Day) -> None:
    day.row("newer").outbox[0].outcome = "delivered"
    _hear(day, "newer", signal("newer"), 210.2)
    assert day.violations() == {Broken.SENT}


def test_an_approval_in_the_key_while_an_older_agent_waits_is_found(day: Day) -> None:
    day.history.attempts[-1].key_signal = signal("newer")
    assert day.violations() == {Broken.SENT}


def test_an_answer_that_does_not_say_withheld_is_found(day: Day) -> None:
    day.history.attempts[-1].signal = "delivered"
    assert day.violations() == {Broken.SENT}


def test_an_answer_in_the_time_of_the_first_scan_need_not_say_withheld(day: Day) -> None:
    _approve(day, "newer", 201.0, "withheld")
    day.history.attempts.pop(-2)
    day.history.attempts[-1].signal = "pending"
    assert day.violations() == set()


def test_a_key_that_does_not_tell_a_withheld_decision_at_once_is_found(day: Day) -> None:
    day.history.attempts[-1].key_status = "pending"
    assert day.violations() == {Broken.DISAGREE}


def test_an_approval_withheld_after_the_older_was_answered_is_found(day: Day) -> None:
    day.history.questions["newer"].asked_at = 204.0
    day.history.questions["newer"].written_at = 204.1
    _approve(day, "older", 202.0, "delivered")
    _hear(day, "older", signal("older"), 202.1)
    assert day.violations() >= {Broken.WITHHELD, Broken.UNHEARD}


def test_a_process_that_ended_right_after_it_published_knew_of_the_answer_alone(day: Day) -> None:
    day.history.questions["newer"].asked_at = 204.0
    day.history.questions["newer"].written_at = 204.1
    _approve(day, "older", 202.0, "delivered")
    _hear(day, "older", signal("older"), 202.1)
    day.away(Part.SERVER, 202.3, 206.0)
    assert day.violations() == set()


def test_an_approval_withheld_without_an_older_question_is_found(day: Day) -> None:
    for records in (day.history.questions, day.stored.requests):
        del records["older"]
    day.history.listenings = [
        one for one in day.history.listenings if one.question.request_id != "older"
    ]
    assert day.violations() == {Broken.WITHHELD, Broken.UNHEARD}


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_only_approvals_of_agents_on_redis_are_withheld(day: Day, status: str) -> None:
    row = day.row("rest" if status == "approved" else "newer")
    if status == "rejected":
        row.status = row.in_redis = "rejected"
        row.records[1].event = "request:rejected"
        row.outbox = [OutboxRow(signal("newer", "rejected"), "delivered", 1, 1)]
        attempt = day.history.attempts[-1]
        attempt.verb, attempt.answered_status, attempt.signal = "reject", "rejected", "delivered"
        attempt.key_status = "rejected"
        _hear(day, "newer", signal("newer", "rejected"), 210.1)
    assert day.violations() == set()
    row.outbox[0].outcome = "withheld"
    assert day.violations() == {Broken.WITHHELD}


def test_an_answer_that_says_withheld_to_a_rejection_is_found(day: Day) -> None:
    day.history.attempts.append(
        Attempt("rest", "approver-1", "approve", None, 100, 100.1, 409, "approved", "withheld")
    )
    assert day.violations() == set()
    day.attempt("rest").signal = "withheld"
    assert day.violations() == {Broken.WITHHELD}


def test_a_refused_question_of_another_tenant_withholds_as_well(day: Day) -> None:
    day.history.questions["older"].may_be_refused = True
    day.history.questions["older"].tenant = "tenant2"
    del day.stored.requests["older"]
    assert day.violations() == set()
    assert day.counted("refused: another tenant's session") == 1
    day.history.attempts[-1].key_signal = signal("newer")
    assert day.violations() == {Broken.SENT}


def test_a_later_question_is_answered_when_the_older_agent_has_given_up(day: Day) -> None:
    question = day.history.questions["newer"]
    question.asked_at, question.written_at = 240.0, 240.1
    _listening(day, "newer").subscriptions = [Subscription(240.2, 540.2)]
    # The older one is 310 s old at 510.
    _hear(day, "newer", signal("newer"), 511.0)
    day.row("newer").outbox[0].outcome = "delivered"
    _approve(day, "newer", 250.0, "delivered")
    day.history.attempts.pop(-2)
    day.history.attempts[-1].signal = "withheld"
    assert day.violations() == set()
    _hear(day, "newer", signal("newer"), 520.0)
    assert day.violations() == {Broken.LATE}
    day.row("newer").outbox[0].outcome = "withheld"
    assert day.violations() == {Broken.LATE, Broken.WITHHELD}


def test_anothers_rejection_stops_an_agent_and_is_counted(day: Day) -> None:
    row = day.row("newer")
    row.status = row.in_redis = "rejected"
    row.records[1].event = "request:rejected"
    row.outbox = [OutboxRow(signal("newer", "rejected"), "delivered", 1, 2)]
    attempt = day.history.attempts[-1]
    attempt.verb, attempt.answered_status, attempt.signal = "reject", "rejected", "delivered"
    _hear(day, "newer", signal("newer", "rejected"), 210.1)
    _hear(day, "older", signal("newer", "rejected"), 210.1)
    assert day.violations() == set()
    assert day.counted("another's rejection, which stops the agent") == 1


def test_an_older_questions_rejection_must_not_stop_a_newer_agent(day: Day) -> None:
    _hear(day, "newer", signal("older", "rejected"), 205.0)
    assert Broken.MISDELIVERED in day.violations()


def test_a_dead_subscription_must_not_take_an_answer_from_its_agent(day: Day) -> None:
    day.history.questions["outside"].is_channel_shared = True
    day.history.questions["outside"].asked_at = 99.0
    # Subscribed 5 s after the question: the signal is repeated whoever was counted before.
    day.listening.subscriptions = [Subscription(104.0, 150.0)]
    day.listening.message = day.listening.received_at = None
    assert day.violations() == {Broken.UNHEARD}
    day.listening.subscriptions = [Subscription(110.0, 150.0)]
    assert day.violations() == set()
