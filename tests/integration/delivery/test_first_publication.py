"""What a decision costs after its commit, and what it may be published by without asking first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.connection import AbstractConnection

from hitl import services
from hitl.delivery import relay
from hitl.delivery.redis_clock import RedisClock, RedisReading, redis_clock
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration import redis_agents
from tests.integration.delivery.sending import SESSION, make_due
from tests.integration.ears import Ear

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def clock_is_known(redis_client: redis.Redis) -> None:
    """Know Redis's time, and have it know the scripts, as in a process that has run a while."""
    factories.opened("session-before")
    services.approve(ApprovalRequest.objects.get().request_id, factories.actor())
    OutboxEntry.objects.all().delete()
    relay.send_due()
    redis_client.delete("hitl:signal:session-before")


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the statements, and the commands of each round trip to Redis."""
    trips: list[int] = []
    send: Any = AbstractConnection.send_packed_command

    def count(self: AbstractConnection, command: object, **kwargs: object) -> None:
        parts = [command] if isinstance(command, bytes) else list(command)  # type: ignore[call-overload]
        trips.append(len(parts))
        send(self, command, **kwargs)

    statements: list[str] = []
    with CaptureQueriesContext(connection) as queries, monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", count)
        yield statements, trips
    statements += [str(query["sql"]) for query in queries]


@pytest.mark.parametrize("is_heard", [True, False])
def test_decision_takes_one_statement_after_its_commit_and_one_round_trip_of_redis(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    request = factories.opened(SESSION)
    ear = Ear(redis_client, SESSION) if is_heard else None

    with counted(monkeypatch) as (statements, trips):
        services.approve(request.request_id, factories.actor())

    after = statements[statements.index("COMMIT") + 1 :]
    assert [statement.split()[0] for statement in after] == ["UPDATE"]
    # The second is the operators' pages' own, after all that an agent waits for.
    assert len(trips) == 2
    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.attempts) == ("delivered" if is_heard else "pending", 1)
    assert entry.published_at is not None
    if ear is not None:
        assert ear.hear() == entry.signal
        ear.close()


@pytest.mark.parametrize("what", ["another run", "a clock that was set back", "a second ago"])
def test_reading_of_redis_that_does_not_hold_any_more_publishes_nothing(
    redis_client: redis.Redis, what: str
) -> None:
    request = factories.opened(SESSION)
    ear = Ear(redis_client, SESSION)
    reading = redis_clock._reading
    assert reading is not None
    redis_clock._reading = {
        "another run": replace(reading, run_id="0" * 40),
        "a clock that was set back": replace(reading, offset=reading.offset + 30),
        "a second ago": replace(reading, offset=reading.offset - 1),
    }[what]

    services.approve(request.request_id, factories.actor())

    assert ear.hears_nothing()
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    # It is owed all the same.
    make_due()
    relay.send_due()
    assert ear.hear() is not None
    ear.close()


def test_reading_is_the_earliest_time_and_is_used_for_five_seconds() -> None:
    uptime = [1000.0]
    clock = RedisClock(lambda: uptime[0])
    assert clock.known() is None

    clock.note(50.0, "run")

    assert clock.known() == RedisReading(50.0, "run")
    uptime[0] += 4.0
    known = clock.known()
    assert known is not None
    assert 53.999 < known.seconds < 54.0
    uptime[0] += 1.1
    assert clock.known() is None


def test_decision_is_published_without_a_reading(redis_client: redis.Redis) -> None:
    request = factories.opened(SESSION)
    ear = Ear(redis_client, SESSION)
    redis_clock.forget()

    services.approve(request.request_id, factories.actor())

    assert ear.hear() is not None
    assert OutboxEntry.objects.get().outcome == "delivered"
    ear.close()


def test_older_request_that_is_decided_after_a_newer_was_opened_is_not_published(
    redis_client: redis.Redis,
) -> None:
    older = factories.opened(SESSION)
    factories.opened(SESSION)
    redis_client.delete(f"hitl:session:{SESSION}")
    ear = Ear(redis_client, SESSION)

    services.approve(older.request_id, factories.actor())

    assert ear.hears_nothing()
    assert OutboxEntry.objects.get().outcome == "superseded"
    ear.close()


def test_rejection_of_what_an_agent_wrote_keeps_its_text(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asked(redis_client, SESSION, age=5.0)
    ear = Ear(redis_client, SESSION)

    services.reject(request_id, factories.actor())

    assert ear.hear() is not None
    text = str(redis_client.get(f"hitl:request:{request_id}"))
    assert '"status":"rejected"' in text.replace(" ", "")
    ear.close()


def test_time_is_never_asked_for_in_the_transaction_of_a_decision(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_clock.forget()
    request = factories.opened(SESSION)
    in_transaction = []

    send: Any = AbstractConnection.send_packed_command

    def note(self: AbstractConnection, command: object, **kwargs: object) -> None:
        in_transaction.append(connection.in_atomic_block)
        send(self, command, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", note)
    services.approve(request.request_id, factories.actor())

    assert set(in_transaction) == {False}
