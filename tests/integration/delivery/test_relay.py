"""A committed decision reaches its agent: by the relay, if the fast path did not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connections
from pytest_django import Settings

from dwp_project import clocks
from dwp_project.offload import run_sync
from dwp_project.wakeup import hub
from hitl import services
from hitl.delivery import commands, held, outbox, redis_state, relay
from hitl.delivery.redis_clock import RedisReading
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration import redis_agents
from tests.integration.delivery.sending import SESSION, decided_and_died, make_due, relaying, turn
from tests.integration.ears import Ear
from tests.integration.outages import no_database, no_redis
from tests.integration.polling import until
from tests.integration.threads import together
from tests.services import services as started

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_signals_that_nobody_receives_do_not_delay_others(
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


def test_relays_share_what_is_due(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = [Ear(redis_client, f"session-{number}") for number in range(12)]
    for number in range(12):
        decided_and_died(monkeypatch, f"session-{number}")
    published: Counter[str] = Counter()
    publish = commands.publish

    def counted(request: ApprovalRequest, *args: Any, **kwargs: Any) -> commands.Publication:
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


async def test_relay_is_woken_for_a_signal_that_nobody_received(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_LONGEST_SLEEP", 60.0)
    async with relaying():
        await asyncio.sleep(0.5)
        request = await run_sync(factories.opened, SESSION)

        await run_sync(services.approve, request.request_id, factories.actor())
        await until(lambda: [one.attempts for one in held.entries.all()] >= [2], within=6)
        ear = Ear(redis_client, SESSION)

        await until(OutboxEntry.objects.filter(outcome="delivered").exists, within=15)
    message = ear.hear()
    assert message is not None
    ear.close()


async def test_relay_sends_what_was_due_before_it_started(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear
) -> None:
    async with relaying():
        # Due after a second, and looked for every second.
        await until(OutboxEntry.objects.filter(outcome="delivered").exists, within=6)


async def test_relay_goes_on_after_redis_and_the_database_were_away(
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
def test_relay_runs_as_a_command(
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


def test_relay_takes_fewer_at_once_when_it_comes_too_late(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        decided_and_died(monkeypatch, f"{SESSION}-{number}")
    OutboxEntry.objects.update(due_at=clocks.now())
    monkeypatch.setattr(relay, "_batch", 8)
    taken, publish, look = [], commands.publish, redis_state.look
    take_due = outbox.take_due

    def take(*args: Any) -> list[OutboxEntry]:
        taken.append(len(entries := take_due(*args)))
        return entries

    # A machine so slow that the third publication after a look comes too late.
    since_look = 0

    def look_again(*asked: Sequence[str]) -> redis_state.Look:
        nonlocal since_look
        since_look = 0
        return look(*asked)

    def slowly(*args: Any, **kwargs: Any) -> commands.Publication:
        nonlocal since_look
        since_look += 1
        asked_at = kwargs["asked_at"]
        late = {"asked_at": RedisReading(asked_at.seconds - 60)} if since_look > 2 else {}
        return publish(*args, **kwargs | late)

    monkeypatch.setattr(outbox, "take_due", take)
    monkeypatch.setattr(redis_state, "look", look_again)
    monkeypatch.setattr(commands, "publish", slowly)

    relay.send_due()

    assert taken[:3] == [8, 4, 2]
    assert all(redis_client.exists(f"hitl:signal:{SESSION}-{n}") for n in range(12))
    assert set(OutboxEntry.objects.values_list("attempts", flat=True)) == {1}


def database_url() -> str:
    """Return the URL of the database that this test uses."""
    name = str(connections["default"].settings_dict["NAME"])
    if started.database == "sqlite":
        return f"sqlite:///{name}"
    return started._database_url().rpartition("/")[0] + "/" + name
