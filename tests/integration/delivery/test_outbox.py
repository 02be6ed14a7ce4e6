"""What stands in the outbox: when a signal is due, who takes it, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings
from redis.exceptions import RedisError

from dwp_project.offload import run_sync
from hitl import metrics, services
from hitl.adoption import adopt
from hitl.delivery import (
    attempts,
    commands,
    first_heard,
    held,
    lost_signals,
    outbox,
    redis_state,
    relay,
)
from hitl.models import OutboxEntry
from hitl.states import DeliveryOutcome
from tests import factories
from tests.integration import redis_agents, running, small_agents
from tests.integration.calls import browser
from tests.integration.delivery.sending import SESSION, decided_and_died, make_due, turn
from tests.integration.ears import Ear
from tests.integration.outages import no_redis
from tests.integration.threads import together
from tests.services import services as started

pytestmark = pytest.mark.django_db(transaction=True)


def test_pauses_between_attempts_double_but_stay_below_5_seconds(
    unsent: OutboxEntry,
) -> None:
    pauses = []
    for _ in range(9):
        entry = turn()
        [kept] = held.entries.all()
        assert entry.attempted_at is not None
        pauses.append((kept.due_at - entry.attempted_at).total_seconds())

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0, 4.0]
    OutboxEntry.objects.update(attempts=5000)
    entry = turn()
    [kept] = held.entries.all()
    assert entry.attempted_at is not None
    assert (kept.due_at - entry.attempted_at).total_seconds() == 4.0


def test_signal_is_given_up_even_if_redis_never_comes_back(
    unsent: OutboxEntry, redis_away: None
) -> None:
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))

    assert turn().outcome == "unheard"


def test_any_number_of_signals_that_nobody_received_end_unheard(
    redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_signals, "_NOTED_AT_ONCE", 1)
    for number in range(3):
        decided_and_died(monkeypatch, f"session-{number}")
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))
    make_due()

    with no_redis(settings):
        for _ in range(3):
            with suppress(RedisError):
                relay.send_due()

    assert list(OutboxEntry.objects.values_list("outcome", flat=True)) == ["unheard"] * 3


async def test_decision_on_the_built_in_agents_question_is_delivered(
    redis_client: redis.Redis, settings: Settings, agents_reset: None, fresh_hub: None
) -> None:
    small_agents.configure(settings, small_agents.Asker)
    session, task = await small_agents.begun()
    question = await running.question()
    await run_sync(services.approve, question.request_id, factories.actor())

    await running.ended(session, task)

    entry = await run_sync(OutboxEntry.objects.get)
    assert (entry.outcome, entry.receivers) == ("delivered", 0)
    assert await run_sync(turn) == entry


def test_relay_does_not_overwrite_that_the_built_in_agent_has_the_decision(
    unsent: OutboxEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = commands.publish

    def meanwhile(*args: Any, **kwargs: Any) -> commands.Publication:
        first_heard.mark_heard(unsent.request)
        return publish(*args, **kwargs)

    monkeypatch.setattr(commands, "publish", meanwhile)

    assert turn().outcome == "delivered"


def test_redis_that_lost_everything_gets_the_signals_again(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear
) -> None:
    assert turn().outcome == "delivered"
    assert ear.hear() == unsent.signal
    redis_client.flushall()

    # Somebody has heard it: it is put back, and not owed.
    relay.send_due()

    assert redis_client.get(f"hitl:signal:{SESSION}") == unsent.signal
    assert 290 < redis_client.ttl(f"hitl:signal:{SESSION}") <= 300
    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.receivers) == ("delivered", 2)


def test_received_answer_is_not_sent_to_a_question_that_redis_lost(
    redis_client: redis.Redis,
) -> None:
    request_id = redis_agents.asked(redis_client, SESSION, age=20.0)
    assert adopt.adopt_request(request_id) is not None
    ear = Ear(redis_client, SESSION)
    services.approve(request_id, factories.actor())
    assert ear.hear() is not None
    # It asks something else, and Redis comes back empty before anybody here has seen that.
    OutboxEntry.objects.update(attempted_at=timezone.now() - timedelta(seconds=60))
    relay.send_due()
    redis_agents.asks(redis_client, SESSION)
    redis_client.flushall()

    turn()
    turn()
    entry = turn()

    assert ear.hears_nothing()
    assert (entry.outcome, entry.receivers) == ("delivered", 1)
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    ear.close()


def test_signal_that_redis_counted_just_before_a_restart_is_sent_until_somebody_receives_it(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turn().receivers == 1
    ear.close()
    redis_client.flushall()
    # It runs since a moment ago: what was said to be received before may never have been sent.
    redis_run = redis_state.current_run()
    monkeypatch.setattr(
        redis_state,
        "current_run",
        lambda: redis_state.RedisRun(redis_run.run_id, 0.0, is_known=False),
    )
    relay.send_due()
    monkeypatch.undo()
    assert OutboxEntry.objects.get().outcome == "pending"
    assert redis_client.get(f"hitl:signal:{SESSION}") == unsent.signal

    late = Ear(redis_client, SESSION)
    assert turn().outcome == "delivered"
    assert late.hear() == unsent.signal
    late.close()


@pytest.mark.parametrize("decide", [services.approve, services.reject])
@pytest.mark.parametrize(("seconds", "is_owed"), [(1.5, True), (6.0, False)])
def test_signal_that_was_in_flight_is_owed_only_if_redis_was_soon_back(
    redis_client: redis.Redis, decide: Callable[..., object], seconds: float, is_owed: bool
) -> None:
    request_id = redis_agents.asked(redis_client, SESSION, age=20.0)
    ear = Ear(redis_client, SESSION)
    decide(request_id, factories.actor())
    assert ear.hear() is not None
    [received_at] = OutboxEntry.objects.values_list("attempted_at", flat=True)
    assert received_at is not None

    # Nobody here has reached it since, and its agent may have asked anew before it lost all.
    owed = lost_signals.requeue_lost(received_at + timedelta(seconds=seconds), received_at)

    assert bool(owed) is is_owed
    # Whoever is not certain to have heard it may still wait.
    entry = OutboxEntry.objects.get()
    assert (entry.receivers, entry.answered_at is not None) == (
        (1, True) if is_owed else (0, False)
    )
    ear.close()


def test_answer_received_before_its_last_repeat_is_not_owed(redis_client: redis.Redis) -> None:
    """The signals of a new request's decision are repeated although they were received."""
    request_id = redis_agents.asked(redis_client, SESSION, age=5.0)
    ear = Ear(redis_client, SESSION)
    services.reject(request_id, factories.actor())
    assert ear.hear() is not None
    entry = OutboxEntry.objects.get()
    assert entry.is_repeated
    assert entry.answered_at is not None
    repeated_at = entry.answered_at + timedelta(seconds=2)
    OutboxEntry.objects.update(attempted_at=repeated_at)

    # Redis stops while the repeat is in flight, and its agent may have asked anew before.
    owed = lost_signals.requeue_lost(repeated_at + timedelta(seconds=1), repeated_at)

    assert owed == 0
    entry.refresh_from_db()
    assert (entry.outcome, entry.receivers) == ("delivered", 1)
    ear.close()


def test_relay_takes_no_entry_that_another_has_taken(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        decided_and_died(monkeypatch, f"session-{number}")
    now = timezone.now() + timedelta(seconds=2)

    taken = together([lambda: outbox.take_due(now, 2)] * 5)

    by_whom = Counter(entry.pk for some in taken for entry in some)
    assert by_whom == dict.fromkeys(OutboxEntry.objects.values_list("pk", flat=True), 1)
    # Those that die give back what they had.
    assert outbox.take_due(now + timedelta(seconds=2.9), 9) == []
    assert len(outbox.take_due(now + timedelta(seconds=3), 9)) == 6


@pytest.mark.skipif(started.database != "postgres", reason="SQLite has one writer at a time")
def test_relay_does_not_wait_for_another(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        decided_and_died(monkeypatch, f"session-{number}")
    now = timezone.now() + timedelta(seconds=2)

    def take() -> list[OutboxEntry]:
        with transaction.atomic(), connection.cursor() as cursor:
            # Without SKIP LOCKED it would wait for the other's transaction to end.
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            return outbox.take_due(now, 9)

    with transaction.atomic():
        mine = outbox.take_due(now, 2)
        [theirs] = together([take])

    assert {entry.pk for entry in mine}.isdisjoint(entry.pk for entry in theirs)
    assert len(theirs) == 2


def test_two_relays_record_the_same_entries_without_a_deadlock(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [decided_and_died(monkeypatch, f"{SESSION}-{number}") for number in range(40)]

    def noting(order: list[OutboxEntry]) -> None:
        # Each with its own outcome, so each with its own UPDATE, in this order.
        attempts.record_attempts(
            [
                (entry, attempts.AttemptResult(DeliveryOutcome.PENDING, error=f"{place}"))
                for place, entry in enumerate(order)
            ]
        )

    for _ in range(3):
        together([lambda: noting(entries), lambda: noting(entries[::-1])])

    assert set(OutboxEntry.objects.values_list("attempts", flat=True)) == {6}


def test_operators_see_what_became_of_a_signal(
    unsent: OutboxEntry, settings: Settings, redis_client: redis.Redis
) -> None:
    with no_redis(settings):
        turn()
    desk = browser(factories.user(role="viewer", is_staff=True))

    page = desk.get("/admin/hitl/outboxentry/").content.decode()

    entry = OutboxEntry.objects.get()
    for column in ("column-attempts", "column-outcome_marked", "column-error"):
        assert column in page
    assert entry.error.split("'")[0][:20] in page
    opened = desk.get(f"/admin/hitl/outboxentry/{entry.pk}/change/").content.decode()
    assert unsent.request.request_id in opened


def test_attempts_are_counted_by_outcome(unsent: OutboxEntry, ear: Ear) -> None:
    def count(outcome: str) -> float:
        return float(metrics.signals.labels(outcome)._value.get())

    before = count("delivered")

    turn()

    assert count("delivered") == before + 1
