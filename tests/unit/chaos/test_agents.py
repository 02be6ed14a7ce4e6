"""The chaos harness can be trusted: what breaks a promise to agents, made up, is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.history import Listening, Subscription
from tests.chaos.outages import Part
from tests.chaos.verdict import Broken
from tests.unit.chaos.chaos_days import Day, good_day, signal


@pytest.fixture
def day() -> Day:
    return good_day()


def test_another_requests_signal_is_found(day: Day) -> None:
    day.listening.message = signal("rest")
    assert day.violations() == {Broken.MISDELIVERED}


def test_another_requests_signal_after_a_wipe_is_counted_apart(day: Day) -> None:
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.listening.message = signal("rest")
    day.away(Part.REDIS, 60.0, 61.0)
    assert day.violations() == set()
    assert day.counted("another's answer after a wipe before adoption") == 1
    assert day.counted("wiped from Redis before adoption") == 1


def test_what_was_received_before_a_wipe_and_comes_again_is_found(day: Day) -> None:
    before = Listening(replace(day.listening.question, request_id="before"))
    before.message, before.received_at = signal("before"), 40.0
    day.history.listenings.append(before)
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.listening.message = signal("before")
    day.away(Part.REDIS, 60.0, 61.0)
    assert day.violations() >= {Broken.MISDELIVERED}


@pytest.mark.parametrize(("received_at", "is_wrong"), [(40.0, True), (47.0, False)])
def test_what_was_received_in_redis_last_moments_is_owed_after_the_wipes_that_follow(
    day: Day, received_at: float, is_wrong: bool
) -> None:
    before = Listening(replace(day.listening.question, request_id="before"))
    before.message, before.received_at = signal("before"), received_at
    day.history.listenings.append(before)
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.listening.message = signal("before")
    # One after the other: what the first has made owed is owed still.
    day.away(Part.REDIS, 48.0, 49.0)
    day.away(Part.REDIS, 60.0, 61.0)
    assert (Broken.MISDELIVERED in day.violations()) == is_wrong


@pytest.mark.parametrize(
    "message",
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
def test_a_message_of_another_shape_is_found(day: Day, message: str) -> None:
    day.listening.message = message
    assert day.violations() & {Broken.SHAPE, Broken.DISAGREE}


def test_a_message_that_differs_from_the_row_is_found(day: Day) -> None:
    day.listening.message = signal("outside", "rejected")
    assert day.violations() == {Broken.DISAGREE}


def test_an_agent_that_hears_nothing_is_found(day: Day) -> None:
    day.listening.message = day.listening.received_at = None
    day.listening.subscriptions = [Subscription(50.0, 107.0)]
    assert day.violations() == {Broken.UNHEARD}


def test_an_agent_that_hears_late_is_found(day: Day) -> None:
    day.listening.received_at = day.listening.subscriptions[0].ended = 107.0
    assert day.violations() == {Broken.LATE}


def test_time_without_redis_does_not_count_for_agents_elsewhere(day: Day) -> None:
    day.listening.received_at = day.listening.subscriptions[0].ended = 107.0
    day.away(Part.REDIS, 99.0, 103.0)
    assert day.violations() == set()


def test_time_before_a_late_subscription_does_not_count(day: Day) -> None:
    day.listening.subscriptions = [Subscription(200.0, 201.0)]
    day.listening.received_at = 201.0
    assert day.violations() == set()


def test_a_silent_subscription_before_the_one_that_heard_is_found(day: Day) -> None:
    day.listening.subscriptions = [Subscription(50.0, 120.0), Subscription(121.0, 122.0)]
    day.listening.received_at = 122.0
    assert day.violations() == {Broken.UNHEARD}


def test_a_question_given_up_is_counted_apart(day: Day) -> None:
    question = day.listening.question
    day.history.listenings[0] = Listening(question, [Subscription(50.0, 51.0)], abandoned_at=51.0)
    assert day.violations() == set()
    assert day.counted("superseded: the agent asked again first") == 1


def test_a_request_that_is_never_adopted_is_found(day: Day) -> None:
    del day.stored.requests["outside"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "outside"]
    day.history.listenings.clear()
    assert day.violations() == {Broken.NOT_ADOPTED}


def test_a_request_adopted_late_is_found(day: Day) -> None:
    day.row("outside").records[0].at = 53.0
    assert day.violations() == {Broken.LATE}


def test_a_wait_that_answers_something_else_is_found(day: Day) -> None:
    day.wait.status = "rejected"
    assert day.violations() == {Broken.DISAGREE}


def test_a_wait_that_answers_late_is_found(day: Day) -> None:
    day.wait.ended_at = 107.0
    assert day.violations() == {Broken.LATE}


def test_a_wait_that_never_answers_is_found(day: Day) -> None:
    day.wait.ended_at = day.wait.status = None
    assert day.violations() == {Broken.LATE}


def test_time_without_the_database_does_not_count_for_waits(day: Day) -> None:
    day.wait.ended_at = 107.0
    day.away(Part.DATABASE, 99.0, 103.0)
    assert day.violations() == set()


def test_a_wait_for_a_request_without_row_is_found(day: Day) -> None:
    del day.stored.requests["rest"]
    day.history.attempts = [a for a in day.history.attempts if a.request_id != "rest"]
    assert day.violations() == {Broken.LOST}
