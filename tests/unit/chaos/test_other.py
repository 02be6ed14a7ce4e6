"""The chaos harness can be trusted: what one deployment has of another's is found."""

from __future__ import annotations

import pytest

from tests.chaos import check_other
from tests.chaos.verdict import Broken, Limits, Verdict
from tests.unit.chaos.chaos_days import Day, good_day, signal


def _judge(first: Day, other: Day, *, is_same_number: bool = True) -> Verdict:
    verdict = Verdict(Limits())
    check_other.check(
        first.history,
        first.stored,
        other.history,
        other.stored,
        verdict,
        is_same_number=is_same_number,
    )
    return verdict


@pytest.fixture
def first() -> Day:
    return good_day()


@pytest.fixture
def other() -> Day:
    """Return the day of a second deployment, whose one agent asks over REST."""
    day = good_day()
    day.history.listenings.clear()
    day.history.streams.clear()
    day.stored.sessions.clear()
    question, row = day.history.questions["rest"], day.row("rest")
    question.request_id = row.request_id = "rest of the other"
    day.history.questions = {question.request_id: question}
    day.stored.requests = {row.request_id: row}
    question.session_id = row.session_id = "session of the other"
    row.outbox[0].signal = signal(row.request_id)
    day.history.attempts = [a for a in day.history.attempts if a.request_id == "rest"]
    for attempt in day.history.attempts:
        attempt.request_id = row.request_id
    return day


def test_two_that_have_nothing_in_common_are_right(first: Day, other: Day) -> None:
    verdict = _judge(first, other)
    assert verdict.violations == []
    assert verdict.counts["other deployment: requests approved"] == 1


@pytest.mark.parametrize("name", ["rest", "user"])
def test_a_request_opened_by_one_and_adopted_by_the_other_is_found(
    first: Day, other: Day, name: str
) -> None:
    row = good_day().row(name)
    row.origin = "redis"
    other.stored.requests[name] = row
    assert {v.broken for v in _judge(first, other).violations} == {Broken.FOREIGN}


def test_what_an_agent_wrote_under_one_number_may_be_adopted_twice(first: Day, other: Day) -> None:
    row = good_day().row("outside")
    row.status = "expired"
    other.stored.requests["outside"] = row
    assert _judge(first, other).violations == []


@pytest.mark.parametrize(("status", "is_same"), [("approved", True), ("expired", False)])
def test_the_other_decides_on_none_and_sees_none_of_another_number(
    first: Day, other: Day, status: str, *, is_same: bool
) -> None:
    row = good_day().row("outside")
    row.status = status
    other.stored.requests["outside"] = row
    verdict = _judge(first, other, is_same_number=is_same)
    assert {v.broken for v in verdict.violations} == {Broken.FOREIGN}


def test_a_signal_of_the_others_session_is_its_own_affair(first: Day, other: Day) -> None:
    text = signal("rest of the other")
    first.stored.signals["session of the other"] = text
    other.stored.signals["session of the other"] = text
    assert _judge(first, other).violations == []
    assert first.violations() == set()


def test_what_breaks_a_promise_in_the_other_is_found(first: Day, other: Day) -> None:
    other.row("rest of the other").outbox.clear()
    assert [v.broken for v in _judge(first, other).violations] == [Broken.LOST]


def test_what_only_the_other_adopted_before_redis_lost_it_is_no_fault(
    first: Day, other: Day
) -> None:
    other.stored.requests["outside"] = first.stored.requests.pop("outside")
    other.row("outside").status = "expired"
    other.stored.signals["session-of-outside"] = signal("before")
    first.history.attempts = [a for a in first.history.attempts if a.request_id != "outside"]
    assert _judge(first, other).violations == []
