"""Entries belong to a process, which sends them again without writing that, and to another within
seconds when it is gone (ADR 0042)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from redis.exceptions import RedisError

from dwp_project import clocks
from hitl import services
from hitl.delivery import commands, held, leases, outbox, relay
from hitl.delivery.leases import TERM, lease
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, RelayLease
from tests import factories
from tests.integration import redis_agents
from tests.integration.delivery.sending import SESSION
from tests.integration.ears import Ear
from tests.integration.outages import no_redis

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets so many seconds pass, for everything but Redis."""
    passed = [0.0]

    def passes(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(clocks, "now", lambda: timezone.now() + timedelta(seconds=passed[0]))
    uptime = clocks.uptime
    monkeypatch.setattr(clocks, "uptime", lambda: uptime() + passed[0])
    return passes


@pytest.fixture
def relaying(redis_client: redis.Redis) -> None:
    """Be a process in which a relay runs."""
    relay.send_due()
    assert lease.owner is not None


def decided(session_id: str = SESSION) -> ApprovalRequest:
    request = factories.opened(session_id)
    return services.approve(request.request_id, factories.actor())


def dies() -> uuid.UUID:
    """End as a process: what is in memory is lost."""
    owner = lease.owner
    assert owner is not None
    held.entries.clear()
    lease.forget()
    return owner


def rounds_of(seconds: float, time_passes: Callable[[float], None]) -> Iterator[None]:
    """Let time pass in the steps in which a relay sends what it holds."""
    left = seconds
    while left > 0:
        next_at = held.entries.next_at()
        assert next_at is not None
        step = min(1.0, max((next_at - clocks.now()).total_seconds(), 0.02))
        time_passes(step)
        left -= step
        yield


def test_decision_that_nobody_hears_is_repeated_and_writes_nothing_until_its_end(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    decided()
    first = OutboxEntry.objects.values().get()
    by_round = []
    for _ in rounds_of(299, time_passes):
        with CaptureQueriesContext(connection) as queries:
            relay.send_held()
        by_round.append([str(query["sql"]) for query in queries])
    statements = [each for each in by_round if each]

    # What is read at the first repeat is compared with what is read at each later one.
    assert len(statements[0]) <= 4
    sqlite = connection.vendor == "sqlite"
    assert {len(each) for each in statements[1:]} <= ({1, 2} if sqlite else {1})
    written = [sql for each in statements for sql in each if "UPDATE" in sql.split("(")[0]]
    assert written == []
    assert len(statements) < 250
    assert OutboxEntry.objects.values().get() == first
    [kept] = held.entries.all()
    assert kept.attempts > 70
    assert kept.unwritten == kept.attempts - 1

    time_passes(3)
    relay.send_held()

    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.attempts) == ("unheard", kept.attempts + 1)
    assert not len(held.entries)


def test_relay_that_holds_nothing_makes_no_statement(relaying: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        relay.send_held()

    assert len(queries) == 0


def test_look_for_what_others_left_is_one_statement(relaying: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert outbox.take_due(clocks.now(), 50) == []

    assert len(queries) == 1


def test_who_subscribes_late_hears_a_held_decision(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    request = decided()
    for _ in rounds_of(20, time_passes):
        relay.send_held()
    ear = Ear(redis_client, SESSION)
    tried = held.entries.all()[0].attempts

    for _ in rounds_of(4.5, time_passes):
        relay.send_held()
        if not len(held.entries):
            break

    assert json.loads(str(ear.hear()))["requestId"] == request.request_id
    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.receivers, entry.attempts) == ("delivered", 1, tried + 1)
    assert entry.first_heard_at is not None
    ear.close()


@pytest.mark.parametrize("is_renewed", [False, True])
def test_entry_of_a_process_that_died_is_taken_within_five_seconds(
    relaying: None,
    time_passes: Callable[[float], None],
    redis_client: redis.Redis,
    is_renewed: bool,
) -> None:
    decided()
    if is_renewed:
        for _ in rounds_of(10, time_passes):
            relay.send_held()
    owner = dies()
    ear = Ear(redis_client, SESSION)
    if is_renewed:
        relay.send_due()
        assert ear.hears_nothing(), "its lease has not ended"
    assert OutboxEntry.objects.get().owner == owner

    time_passes(5 - leases.LOOK_SECONDS)
    relay.send_due()

    assert ear.hear() is not None
    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.owner) != ("pending", owner)
    ear.close()


def test_entry_whose_process_died_before_its_wake_up_is_sent(
    relaying: None,
    time_passes: Callable[[float], None],
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commit took a minute, so that its first attempt was due long before it could be seen."""
    with monkeypatch.context() as patch:
        patch.setattr(services, "_publish_signal", lambda decided: None)
        decided()
    dies()
    ear = Ear(redis_client, SESSION)
    time_passes(60)

    relay.send_due()

    assert ear.hear() is not None
    ear.close()


def test_entry_whose_step_after_the_commit_failed_is_sent_by_its_own_process(
    relaying: None,
    time_passes: Callable[[float], None],
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decided("session-held")
    with monkeypatch.context() as patch:
        patch.setattr(services, "_publish_signal", lambda decided: None)
        decided()
    ear = Ear(redis_client, SESSION)
    for _ in rounds_of(2, time_passes):
        relay.send_held()

    relay.send_due()

    assert ear.hear() is not None
    ear.close()


def test_process_that_is_cut_from_redis_gives_back_what_it_holds(
    relaying: None, settings: Settings, redis_client: redis.Redis
) -> None:
    decided()
    assert OutboxEntry.objects.get().owner == lease.owner
    with no_redis(settings), suppress(RedisError):
        relay.send_due()

    entry = OutboxEntry.objects.get()
    assert entry.owner is None
    assert entry.error
    assert not len(held.entries)
    # Another process has not been cut from it.
    dies()
    ear = Ear(redis_client, SESSION)
    relay.send_due()
    assert ear.hear() is not None
    ear.close()


def test_process_that_was_frozen_does_not_send_what_another_has_taken(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    decided()
    [mine] = held.entries.all()
    other = RelayLease.objects.create(id=uuid.uuid4(), ends_at=clocks.now() + timedelta(hours=1))
    OutboxEntry.objects.update(owner=other.pk)
    ear = Ear(redis_client, SESSION)
    time_passes(60)

    relay.send_held()
    relay.send_due()

    assert ear.hears_nothing()
    assert mine.pk not in [entry.pk for entry in held.entries.all()]
    assert OutboxEntry.objects.get().owner == other.pk
    ear.close()


def test_process_of_the_version_before_finds_what_is_due(relaying: None) -> None:
    """It knows no owners, takes what is due, and writes no owner when it enqueues."""
    decided()
    entry = OutboxEntry.objects.get()

    assert entry.due_at - clocks.now() <= TERM
    OutboxEntry.objects.update(owner=None, due_at=clocks.now(), attempts=5)
    held.entries.clear()
    assert [one.pk for one in outbox.take_due(clocks.now(), 5)] == [entry.pk]


def test_lease_whose_row_is_gone_keeps_nobody_from_an_entry(relaying: None) -> None:
    RelayLease.objects.all().delete()

    decided()

    assert OutboxEntry.objects.get().owner is None


def test_held_entry_of_which_the_rows_were_changed_by_hand_is_not_repeated(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    request = decided()
    for _ in rounds_of(3, time_passes):
        relay.send_held()
    ear = Ear(redis_client, SESSION)
    ApprovalRequest.objects.filter(pk=request.pk).update(decided_by="somebody-else")

    for _ in rounds_of(5, time_passes):
        relay.send_held()
        if not len(held.entries):
            break

    assert ear.hears_nothing()
    assert OutboxEntry.objects.get().outcome == "refused"
    assert AuditRecord.objects.filter(event="request:approved").count() == 1
    ear.close()


def test_held_decision_is_not_repeated_once_its_session_has_a_newer_request(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    decided()
    for _ in rounds_of(3, time_passes):
        relay.send_held()
    factories.opened(SESSION)
    # Redis was not told of it: only the database knows.
    redis_client.delete(f"hitl:session:{SESSION}")
    redis_client.set(f"hitl:signal:{SESSION}", OutboxEntry.objects.get().signal)
    ear = Ear(redis_client, SESSION)

    for _ in rounds_of(5, time_passes):
        relay.send_held()
        if not len(held.entries):
            break

    assert ear.hears_nothing()
    assert OutboxEntry.objects.get().outcome == "superseded"
    ear.close()


def test_held_signal_that_redis_lost_is_set_again(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    decided()
    redis_client.delete(f"hitl:signal:{SESSION}")

    for _ in rounds_of(1, time_passes):
        relay.send_held()

    assert redis_client.exists(f"hitl:signal:{SESSION}")


def test_many_held_decisions_are_repeated_in_one_statement_and_one_round_trip(
    relaying: None,
    time_passes: Callable[[float], None],
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(20):
        decided(f"session-{number}")
    repeated: list[int] = []
    repeat_all = commands.repeat_all

    def counted(signals: list[tuple[str, str, str]], **kwargs: object) -> object:
        repeated.append(len(signals))
        return repeat_all(signals, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(commands, "repeat_all", counted)
    time_passes(1)
    relay.send_held()
    time_passes(1)
    with CaptureQueriesContext(connection) as queries:
        relay.send_held()

    assert repeated == [20, 20]
    assert len(queries) <= (2 if connection.vendor == "sqlite" else 1)


def test_approval_that_waits_for_a_time_is_nobodys_until_then(
    relaying: None, time_passes: Callable[[float], None], redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asked(redis_client, SESSION, age=1.0)

    services.approve(request_id, factories.actor())

    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.owner, len(held.entries)) == ("pending", None, 0)
    assert held.entries.next_at() == entry.due_at
    assert not held.entries.is_ringing(entry.due_at - timedelta(seconds=0.1))
    assert held.entries.is_ringing(entry.due_at)
