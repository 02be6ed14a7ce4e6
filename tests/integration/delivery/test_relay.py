"""A committed decision reaches its agent: by the relay, if the fast path did not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection, connections, transaction
from django.utils import timezone
from pytest_django import Settings
from redis.exceptions import RedisError

from dwp_project.offload import run_sync
from dwp_project.wakeup import hub
from hitl import metrics, services, waiting
from hitl.adoption import adopt, insert
from hitl.delivery import after_commit, commands, outbox, relay, resync
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome
from tests import factories
from tests.integration import redis_agents, running, small_agents
from tests.integration.calls import browser
from tests.integration.ears import Ear
from tests.integration.outages import no_database, no_redis
from tests.integration.polling import until
from tests.integration.threads import together
from tests.services import services as started

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "session-relayed"


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


@pytest.fixture
def unsent(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> OutboxEntry:
    """Return the entry of a decision whose process died between commit and publication."""
    return decided_and_died(monkeypatch)


def decided_and_died(
    monkeypatch: pytest.MonkeyPatch, session_id: str = SESSION, **kwargs: Any
) -> OutboxEntry:
    with monkeypatch.context() as patch:
        patch.setattr(services, "_send", lambda entry: None)
        request = factories.opened(session_id)
        services.approve(request.request_id, factories.actor(), **kwargs)
    return OutboxEntry.objects.get(request=request)


def kept(client: redis.Redis, key: str) -> Any:
    return json.loads(str(client.get(key)))


def make_due() -> None:
    OutboxEntry.objects.pending().update(due_at=timezone.now())


def turn() -> OutboxEntry:
    """Have a relay take what is pending, due or not, and return the one entry."""
    make_due()
    with suppress(RedisError):
        relay.send_due()
    return OutboxEntry.objects.get()


@asynccontextmanager
async def relaying() -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
        assert not task.done(), "the relay has ended"
    finally:
        task.cancel()
        await asyncio.wait([task])
        await hub().close()


# --- one entry ----------------------------------------------------------------------------


def test_decision_whose_process_died_is_sent(unsent: OutboxEntry, ear: Ear) -> None:
    assert (unsent.outcome, unsent.attempts) == ("pending", 0)
    # The deciding process has a second to do it itself.
    assert unsent.due_at - unsent.created_at == timedelta(seconds=1)
    relay.send_due()
    assert ear.hears_nothing()

    sent = turn()

    assert ear.hear() == unsent.signal
    assert (sent.outcome, sent.attempts, sent.receivers, sent.error) == ("delivered", 1, 1, "")
    assert sent.attempted_at is not None
    turn()
    assert ear.hears_nothing()


def test_signal_is_sent_again_until_somebody_hears_it(
    redis_client: redis.Redis, unsent: OutboxEntry
) -> None:
    for attempts in range(1, 4):
        entry = turn()
        assert (entry.outcome, entry.attempts, entry.receivers) == ("pending", attempts, 0)
    ear = Ear(redis_client, SESSION)

    entry = turn()

    assert ear.hear() == unsent.signal
    assert (entry.outcome, entry.attempts, entry.receivers) == ("delivered", 4, 1)
    ear.close()


def test_attempts_are_ever_further_apart_but_never_more_than_5_seconds(
    unsent: OutboxEntry,
) -> None:
    pauses = []
    for _ in range(9):
        entry = turn()
        assert entry.attempted_at is not None
        pauses.append((entry.due_at - entry.attempted_at).total_seconds())

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0, 4.0]
    OutboxEntry.objects.update(attempts=5000)
    entry = turn()
    assert entry.attempted_at is not None
    assert (entry.due_at - entry.attempted_at).total_seconds() == 4.0


def test_signal_is_given_up_after_300_seconds_and_never_before(
    unsent: OutboxEntry, ear: Ear, redis_client: redis.Redis
) -> None:
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))

    entry = turn()

    assert (entry.outcome, entry.receivers) == ("unheard", 0)
    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    OutboxEntry.objects.update(
        outcome="pending", created_at=timezone.now() - timedelta(seconds=290)
    )
    assert turn().outcome == "delivered"


def test_signal_is_given_up_though_redis_never_comes_back(
    unsent: OutboxEntry, redis_away: None
) -> None:
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))

    assert turn().outcome == "unheard"


def test_signal_of_an_older_request_is_superseded(unsent: OutboxEntry, ear: Ear) -> None:
    factories.opened(SESSION)

    entry = turn()

    assert (entry.outcome, entry.attempts, entry.receivers) == ("superseded", 1, 0)
    assert ear.hears_nothing()


def test_signal_waits_for_redis_to_come_back(
    unsent: OutboxEntry, settings: Settings, redis_client: redis.Redis
) -> None:
    with no_redis(settings):
        entry = turn()
        # Not taken: a relay whose link is whole may send it at once.
        assert (entry.outcome, entry.attempts) == ("pending", 0)
        assert entry.error
    ear = Ear(redis_client, SESSION)

    entry = turn()

    assert ear.hear() == unsent.signal
    assert (entry.outcome, entry.attempts, entry.error) == ("delivered", 1, "")
    ear.close()


def test_signal_reaches_an_agent_whose_opening_redis_missed(
    redis_client: redis.Redis, settings: Settings
) -> None:
    services.cancel(factories.opened(SESSION).request_id, factories.actor())
    with no_redis(settings):
        request = factories.opened(SESSION)
        services.approve(request.request_id, factories.actor())
    ear = Ear(redis_client, SESSION)

    turn()
    turn()

    heard = ear.hear()
    assert heard is not None
    assert json.loads(heard)["requestId"] == request.request_id
    ear.close()


async def test_waiters_of_ours_are_never_counted_as_the_agent(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, fresh_hub: None
) -> None:
    request = await run_sync(factories.opened, SESSION)
    await run_sync(services.approve, request.request_id, factories.actor())
    async with hub().subscribe(services.wake_topic(request.request_id)) as waiter:
        assert await waiter.confirmed(5)
        assert (await waiting.until_ended(request.request_id)).status == "approved"

        entry = await run_sync(turn)

    assert (entry.outcome, entry.receivers) == ("pending", 0)


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


def test_relay_does_not_undo_that_the_built_in_agent_has_heard(
    unsent: OutboxEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = commands.publish

    def meanwhile(*args: Any, **kwargs: Any) -> int:
        outbox.mark_heard(unsent.request)
        return publish(*args, **kwargs)

    monkeypatch.setattr(commands, "publish", meanwhile)

    assert turn().outcome == "delivered"


# --- what is in the way of one is in the way of no other ----------------------------------


def test_odd_key_of_one_session_holds_up_no_other(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ["\0", "x\0y", '"\\u0000"', "\ud800", "x" * 100_000]
    for number, named in enumerate(["hash", *odd]):
        decided_and_died(monkeypatch, f"session-{number}")
        redis_client.delete(f"hitl:session:session-{number}")
        redis_client.set(f"hitl:session:session-{number}", named.encode(errors="surrogatepass"))
    redis_client.delete("hitl:session:session-0")
    redis_client.hset("hitl:session:session-0", "a", "b")
    decided_and_died(monkeypatch)
    ear = Ear(redis_client, SESSION)

    make_due()
    relay.send_due()

    assert ear.hear() is not None
    entries = {entry.request.session_id: entry for entry in OutboxEntry.objects.all()}
    assert "WRONGTYPE" in entries.pop("session-0").error
    assert entries.pop(SESSION).outcome == "delivered"
    assert {entry.outcome for entry in entries.values()} == {"superseded"}
    ear.close()


def test_many_that_nobody_hears_hold_up_no_other(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_BATCH", 3)
    for number in range(10):
        decided_and_died(monkeypatch, f"session-{number}")
    decided_and_died(monkeypatch)
    ear = Ear(redis_client, SESSION)

    make_due()
    relay.send_due()

    assert ear.hear() is not None
    assert set(OutboxEntry.objects.values_list("attempts", flat=True)) >= {1}
    ear.close()


# --- a Redis that comes back without its memory -------------------------------------------


def test_redis_that_lost_everything_is_given_the_signals_again(
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


def test_answer_that_was_received_is_not_sent_to_a_question_redis_has_forgotten(
    redis_client: redis.Redis,
) -> None:
    asked = redis_agents.asks(redis_client, SESSION)
    assert adopt.adopt_request(asked) is not None
    ear = Ear(redis_client, SESSION)
    services.approve(asked, factories.actor())
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


def test_signal_that_redis_took_to_its_grave_is_owed_until_somebody_hears_it(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turn().receivers == 1
    ear.close()
    redis_client.flushall()
    # It runs since a moment ago: what was said to be received before may never have been sent.
    told = commands.memory()
    monkeypatch.setattr(
        commands, "memory", lambda: commands.Memory(told.run_id, 0.0, is_known=False)
    )
    relay.send_due()
    monkeypatch.undo()
    assert OutboxEntry.objects.get().outcome == "pending"
    assert redis_client.get(f"hitl:signal:{SESSION}") == unsent.signal

    late = Ear(redis_client, SESSION)
    assert turn().outcome == "delivered"
    assert late.hear() == unsent.signal
    late.close()


def test_signal_that_was_received_once_does_not_end_unheard(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear
) -> None:
    turn()
    OutboxEntry.objects.update(
        outcome="pending", created_at=timezone.now() - timedelta(seconds=301)
    )

    assert turn().outcome == "delivered"


def test_many_lost_signals_are_given_back_in_one_go(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        decided_and_died(monkeypatch, f"session-{number}")
    make_due()
    relay.send_due()
    redis_client.flushall()
    redis_client.hset("hitl:session:session-7", "a", "b")
    alone: list[str] = []
    monkeypatch.setattr(commands, "publish", lambda request, *_, **__: alone.append(request))

    make_due()
    relay.send_due()

    assert alone == []
    held = {number for number in range(20) if redis_client.exists(f"hitl:signal:session-{number}")}
    assert held == set(range(20)) - {7}
    errors = OutboxEntry.objects.exclude(error="").values_list("request__session_id", flat=True)
    assert list(errors) == ["session-7"]


# --- an opening that Redis has missed -----------------------------------------------------


@pytest.mark.parametrize("ended", ["pending", "expired", "approved"])
def test_opening_that_redis_missed_takes_the_answer_before_it_away(
    ended: str, redis_client: redis.Redis, settings: Settings
) -> None:
    before = factories.opened(SESSION)
    services.approve(before.request_id, factories.actor())
    assert redis_client.exists(f"hitl:signal:{SESSION}")
    with no_redis(settings):
        after = factories.opened(SESSION)
        if ended == "approved":
            services.approve(after.request_id, factories.actor())
        elif ended == "expired":
            services.settle(after, now=after.expires_at)

    make_due()
    relay.send_due()

    waiting = kept(redis_client, f"hitl:session:{SESSION}")
    assert waiting["requestId"] == after.request_id
    signal_now = redis_client.get(f"hitl:signal:{SESSION}")
    assert before.request_id not in (signal_now or "")
    told = kept(redis_client, f"hitl:request:{after.request_id}")
    assert told["status"] == ended
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


@pytest.mark.parametrize("origin", ["rest", "redis"])
def test_end_that_redis_missed_is_told_later(
    origin: str, redis_client: redis.Redis, settings: Settings
) -> None:
    if origin == "rest":
        request = factories.opened(SESSION)
    else:
        adopted = adopt.adopt_request(redis_agents.asks(redis_client, SESSION))
        assert adopted is not None
        request = adopted
    with no_redis(settings):
        services.settle(request, now=request.expires_at)
    written = redis_client.get(f"hitl:session:{SESSION}")

    relay.send_due()

    told = kept(redis_client, f"hitl:request:{request.request_id}")
    assert told["status"] == "expired"
    assert redis_client.get(f"hitl:session:{SESSION}") == written
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_missed_opening_with_an_odd_key_holds_up_no_other(
    redis_client: redis.Redis, settings: Settings
) -> None:
    with no_redis(settings):
        factories.opened("session-0")
        factories.opened("session-1")
    redis_client.hset("hitl:session:session-0", "a", "b")

    relay.send_due()

    assert redis_client.type("hitl:session:session-1") == "string"
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


@pytest.mark.parametrize("ended", ["expired", "cancelled"])
def test_end_whose_process_died_before_it_told_redis_is_told(
    ended: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = factories.opened(SESSION)
    with monkeypatch.context() as died:
        died.setattr(after_commit, "_refresh", lambda request: None)
        if ended == "expired":
            services.settle(request, now=request.expires_at)
        else:
            services.cancel(request.request_id, factories.actor())
    assert kept(redis_client, f"hitl:request:{request.request_id}")["status"] == "pending"

    relay.send_due()

    assert kept(redis_client, f"hitl:request:{request.request_id}")["status"] == ended
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_end_that_comes_while_redis_is_told_of_the_opening_stays_owed(
    redis_client: redis.Redis,
) -> None:
    factories.opened(SESSION)
    ApprovalRequest.objects.update(is_missed_by_redis=True)
    told = ApprovalRequest.objects.get()
    # Another process ends it now, and dies before it can tell.
    ApprovalRequest.objects.update(status="cancelled", decided_at=timezone.now())

    resync.clear_missed(told)

    assert ApprovalRequest.objects.get().is_missed_by_redis


@pytest.mark.parametrize("is_held", [True, False])
def test_request_that_was_damaged_by_hand_holds_up_no_other(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    damaged = decided_and_died(monkeypatch, "session-damaged")
    older = factories.opened("session-older")
    whole = decided_and_died(monkeypatch)
    superseded = decided_and_died(monkeypatch, "session-superseded")
    factories.opened("session-superseded", request_id="req-newer")
    if not is_held:
        # Redis has come back empty, and nobody listens: all are told in one go.
        OutboxEntry.objects.update(attempts=1)
        redis_client.delete(*redis_client.keys("hitl:*"))
    spoilt = [damaged.request.pk, older.pk, superseded.request.pk]
    ApprovalRequest.objects.filter(pk__in=spoilt).update(context_text="{")
    ApprovalRequest.objects.filter(pk=older.pk).update(is_missed_by_redis=True)

    make_due()
    relay.send_due()

    assert kept(redis_client, f"hitl:signal:{SESSION}")["requestId"] == whole.request.request_id
    damaged.refresh_from_db()
    superseded.refresh_from_db()
    assert damaged.outcome == "pending"
    assert damaged.error
    assert superseded.outcome == "superseded"
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_adoption_whose_process_died_takes_the_answer_before_it_away(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = redis_agents.asks(redis_client, SESSION)
    services.approve(before, factories.actor())
    assert redis_client.exists(f"hitl:signal:{SESSION}")
    written = redis_agents.asks(redis_client, SESSION)
    text = redis_client.get(f"hitl:request:{written}")
    with monkeypatch.context() as died:
        died.setattr(insert, "_tell_redis", lambda requests: None)
        assert adopt.adopt_request(written) is not None
    assert redis_client.exists(f"hitl:signal:{SESSION}")

    relay.send_due()

    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    # The agent's own text stays its own.
    assert redis_client.get(f"hitl:request:{written}") == text
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_what_redis_refuses_for_now_stays_owed(
    redis_client: redis.Redis, settings: Settings
) -> None:
    before = factories.opened(SESSION)
    services.approve(before.request_id, factories.actor())
    with no_redis(settings):
        after = factories.opened(SESSION)
    redis_client.config_set("maxmemory", 1)
    try:
        with suppress(RedisError):
            relay.send_due()
    finally:
        redis_client.config_set("maxmemory", 0)
    assert ApprovalRequest.objects.get(is_missed_by_redis=True) == after

    relay.send_due()

    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    assert kept(redis_client, f"hitl:session:{SESSION}")["requestId"] == after.request_id


def test_agent_that_listens_by_pattern_hears_what_is_repeated(
    redis_client: redis.Redis, unsent: OutboxEntry
) -> None:
    assert turn().receivers == 0
    hub_of_agents = redis_client.pubsub()
    hub_of_agents.psubscribe("hitl:channel:*")
    assert hub_of_agents.get_message(timeout=5)

    entry = turn()

    heard = hub_of_agents.get_message(timeout=3)
    assert heard is not None
    assert heard["data"] == unsent.signal
    assert (entry.outcome, entry.receivers) == ("delivered", 1)
    hub_of_agents.close()


def test_what_is_repeated_never_reaches_a_newer_question(redis_client: redis.Redis) -> None:
    asked = redis_agents.asks(redis_client, SESSION)
    services.approve(asked, factories.actor())
    assert turn().receivers == 0
    # Not adopted yet, and heard by pattern: neither the database nor a count tells of it.
    redis_agents.asks(redis_client, SESSION)
    hub_of_agents = redis_client.pubsub()
    hub_of_agents.psubscribe("hitl:channel:*")
    assert hub_of_agents.get_message(timeout=5)

    entry = turn()

    assert hub_of_agents.get_message(timeout=0.3) is None
    assert (entry.outcome, entry.receivers) == ("superseded", 0)
    hub_of_agents.close()


def test_what_nobody_received_ends_unheard_however_many_there_are(
    redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_HELD_UP_AT_ONCE", 1)
    for number in range(3):
        decided_and_died(monkeypatch, f"session-{number}")
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))
    make_due()

    with no_redis(settings):
        for _ in range(3):
            with suppress(RedisError):
                relay.send_due()

    assert list(OutboxEntry.objects.values_list("outcome", flat=True)) == ["unheard"] * 3


# --- several relays -----------------------------------------------------------------------


def test_relays_share_what_is_due(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = [Ear(redis_client, f"session-{number}") for number in range(12)]
    for number in range(12):
        decided_and_died(monkeypatch, f"session-{number}")
    published: Counter[str] = Counter()
    publish = commands.publish

    def counted(request: ApprovalRequest, *args: Any, **kwargs: Any) -> int:
        published[request.session_id] += 1
        return publish(request, *args, **kwargs)

    monkeypatch.setattr(commands, "publish", counted)
    monkeypatch.setattr(relay, "_BATCH", 2)
    make_due()

    together([relay.send_due] * 6)

    assert published == {f"session-{number}": 1 for number in range(12)}
    assert all(ear.hear() is not None for ear in ears)
    assert set(OutboxEntry.objects.values_list("attempts", "outcome")) == {(1, "delivered")}
    for ear in ears:
        ear.close()


def test_relay_takes_nothing_that_another_has_in_hand(
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
def test_relay_waits_for_no_other(
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


# --- the loop -----------------------------------------------------------------------------


async def test_relay_is_told_of_a_signal_that_nobody_heard(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_LONGEST_SLEEP", 60.0)
    async with relaying():
        await asyncio.sleep(0.5)
        request = await run_sync(factories.opened, SESSION)

        await run_sync(services.approve, request.request_id, factories.actor())
        await until(OutboxEntry.objects.filter(attempts__gte=2).exists, within=6)
        ear = Ear(redis_client, SESSION)

        await until(OutboxEntry.objects.filter(outcome="delivered").exists, within=15)
    heard = ear.hear()
    assert heard is not None
    ear.close()


async def test_relay_sends_what_it_finds(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear
) -> None:
    async with relaying():
        # Due after a second, and looked for every second.
        await until(OutboxEntry.objects.filter(outcome="delivered").exists, within=6)


async def test_relay_outlives_redis_and_the_database(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear, settings: Settings
) -> None:
    await run_sync(make_due)
    with no_database():
        task = asyncio.create_task(relay.run())
        await asyncio.sleep(0.3)
        assert not task.done()
    with no_redis(settings):
        await until(OutboxEntry.objects.exclude(error="").exists, within=6)
        assert not task.done()
    try:
        await until(OutboxEntry.objects.filter(outcome="delivered").exists, within=15)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await hub().close()


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_relay_is_a_command_of_its_own(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear, told: signal.Signals
) -> None:
    """With `serve` or without: what it sends is owed, and what agents wrote is adopted."""
    request_id = redis_agents.asks(redis_client, "session-on-redis")
    process = subprocess.Popen(
        # As a shell starts what runs in the background: without SIGINT.
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "manage.py", "relay"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "DATABASE_URL": database_url()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        asyncio.run(until(ApprovalRequest.objects.filter(request_id=request_id).exists, within=30))
        assert ear.hear(30) == unsent.signal
        process.send_signal(told)
        output, _ = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output.strip().splitlines()[-1]) == (0, "Stopped.")


def database_url() -> str:
    """Return the URL of the database that this test uses."""
    name = str(connections["default"].settings_dict["NAME"])
    if started.database == "sqlite":
        return f"sqlite:///{name}"
    return started._database_url().rpartition("/")[0] + "/" + name


# --- what is seen of it -------------------------------------------------------------------


def test_operators_see_what_became_of_a_signal(
    unsent: OutboxEntry, settings: Settings, redis_client: redis.Redis
) -> None:
    with no_redis(settings):
        turn()
    desk = browser(factories.user(role="viewer", is_staff=True))

    page = desk.get("/admin/hitl/outboxentry/").content.decode()

    entry = OutboxEntry.objects.get()
    for shown in ("column-attempts", "column-receivers", "column-outcome", "column-error"):
        assert shown in page
    assert entry.error.split("'")[0][:20] in page
    opened = desk.get(f"/admin/hitl/outboxentry/{entry.pk}/change/").content.decode()
    assert unsent.request.request_id in opened


def test_attempts_are_counted_by_what_came_of_them(unsent: OutboxEntry, ear: Ear) -> None:
    def count(outcome: str) -> float:
        return float(metrics.signals.labels(outcome)._value.get())

    before = count("delivered")

    turn()

    assert count("delivered") == before + 1


def test_relay_takes_fewer_at_once_when_it_comes_too_late(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        decided_and_died(monkeypatch, f"{SESSION}-{number}")
    OutboxEntry.objects.update(due_at=timezone.now())
    monkeypatch.setattr(relay, "_batch", 8)
    taken, publish, now = [], commands.publish, commands.clock
    take_due = outbox.take_due

    def take(*args: Any) -> list[OutboxEntry]:
        taken.append(len(found := take_due(*args)))
        return found

    # A machine so slow that the third publication after a look comes too late.
    since_look = 0

    def look() -> float:
        nonlocal since_look
        since_look = 0
        return now()

    def slowly(*args: Any, **kwargs: Any) -> int:
        nonlocal since_look
        since_look += 1
        late = {"asked_at": kwargs["asked_at"] - 60} if since_look > 2 else {}
        return publish(*args, **kwargs | late)

    monkeypatch.setattr(outbox, "take_due", take)
    monkeypatch.setattr(commands, "clock", look)
    monkeypatch.setattr(commands, "publish", slowly)

    relay.send_due()

    assert taken[:3] == [8, 4, 2]
    assert all(redis_client.exists(f"hitl:signal:{SESSION}-{n}") for n in range(12))
    assert set(OutboxEntry.objects.values_list("attempts", flat=True)) == {1}


def test_two_relays_that_hold_the_same_entries_note_them_without_a_deadlock(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [decided_and_died(monkeypatch, f"{SESSION}-{number}") for number in range(40)]

    def noting(order: list[OutboxEntry]) -> None:
        # Each with its own outcome, so each with its own UPDATE, in this order.
        outbox.note(
            [
                (entry, outbox.Attempt(DeliveryOutcome.PENDING, error=f"{place}"))
                for place, entry in enumerate(order)
            ]
        )

    for _ in range(3):
        together([lambda: noting(entries), lambda: noting(entries[::-1])])

    assert set(OutboxEntry.objects.values_list("attempts", flat=True)) == {6}
