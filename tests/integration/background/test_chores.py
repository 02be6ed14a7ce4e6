"""What is due is done once, however many processes are there to do it; and a decision that
races its request's expiry has one end, which everything that tells of it tells alike."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from dwp_project import clocks
from dwp_project.offload import run_sync
from hitl import metrics, services
from hitl.approvals import idempotency
from hitl.audit import checkpoints
from hitl.background import chores, clock
from hitl.background.chores import Chore
from hitl.delivery import relay
from hitl.errors import AlreadyDecided, RequestExpired
from hitl.models import ApprovalRequest, AuditRecord, KeptAnswer, OutboxEntry
from hitl.models import Chore as Turn
from tests import factories
from tests.integration import running, small_agents
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.integration.polling import until
from tests.integration.threads import together
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8
ROUNDS = 6


class Counted:
    """Work that counts how often it is done, and takes long enough for another to begin."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        time.sleep(0.02)
        return 1


# --- chores -------------------------------------------------------------------------------


def test_chore_that_is_due_is_done_by_one_of_many() -> None:
    work = Counted()
    chore = Chore("sweep", timedelta(hours=1), work)
    now = timezone.now()

    for turn in range(4):
        due_at = now + turn * chore.interval
        done = together([lambda at=due_at: chores.do(chore, now=at)] * THREADS)  # type: ignore[misc]
        assert Counter(done) == {True: 1, False: THREADS - 1}

    assert work.times == 4
    assert Turn.objects.get().due_at == now + 4 * chore.interval


def test_chore_is_not_done_before_it_is_due() -> None:
    work = Counted()
    chore, now = Chore("sweep", timedelta(hours=1), work), timezone.now()
    assert chores.do(chore, now=now)

    assert not chores.do(chore, now=now + timedelta(minutes=59, seconds=59))
    assert chores.do(chore, now=now + timedelta(hours=1))
    assert work.times == 2


def test_chore_that_is_long_overdue_is_done_once() -> None:
    work = Counted()
    chore, now = Chore("sweep", timedelta(hours=1), work), timezone.now()
    chores.do(chore, now=now)

    later = now + timedelta(days=9)
    together([lambda: chores.do(chore, now=later)] * THREADS)

    assert work.times == 2


# The last one is of a kind that Python cannot read.
NO_DUE_TIMES = {
    "sqlite": ["2999-01-01 00:00:00", "9999-12-31 23:59:59", "never"],
    "postgresql": ["2999-01-01 00:00:00+00", "9999-12-31 23:59:59+00", "infinity"],
}[connection.vendor]


@pytest.mark.parametrize("due_at", NO_DUE_TIMES)
def test_chore_that_is_due_later_than_its_interval_is_done_now_by_one_of_many(
    due_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = Counted()
    chore, now = Chore("sweep", timedelta(hours=1), work), timezone.now()
    chores.do(chore, now=now)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE hitl_chore SET due_at = %s", [due_at])

    done = together([lambda: chores.do(chore, now=now + timedelta(seconds=30))] * THREADS)

    assert Counter(done) == {True: 1, False: THREADS - 1}
    assert Turn.objects.get().due_at == now + timedelta(hours=1, seconds=30)
    assert "chore_due_time_clamped" in caplog.text


def test_turn_that_a_faster_clock_took_is_not_taken_again() -> None:
    work = Counted()
    chore, now = Chore("sweep", timedelta(hours=1), work), timezone.now()
    assert chores.do(chore, now=now + timedelta(seconds=20))

    assert not chores.do(chore, now=now)
    assert work.times == 1


def test_chore_that_failed_is_done_at_its_next_turn() -> None:
    def fail() -> int:
        raise LookupError

    now = timezone.now()
    with pytest.raises(LookupError):
        chores.do(Chore("sweep", timedelta(hours=1), fail), now=now)
    work = Counted()
    chore = Chore("sweep", timedelta(hours=1), work)

    assert not chores.do(chore, now=now + timedelta(minutes=1))
    assert chores.do(chore, now=now + timedelta(hours=1))


def test_chores_do_not_block_each_other() -> None:
    one, other = Counted(), Counted()

    assert chores.do(Chore("one", timedelta(hours=1), one))
    assert chores.do(Chore("other", timedelta(hours=1), other))


async def test_clocks_do_each_chore_once_between_them(redis_client: redis.Redis) -> None:
    work = Counted()
    also = [Chore("sweep", timedelta(hours=1), work)]
    old = timezone.now() - timedelta(hours=25)
    row = {"tenant_id": "t", "user_id": "u", "endpoint": "approve", "payload_digest": "x"}
    await run_sync(lambda: KeptAnswer.objects.create(key="k", created_at=old, **row))
    overdue = await run_sync(factories.opened, now=timezone.now() - timedelta(seconds=400))

    clocks = [asyncio.create_task(clock.run(also)) for _ in range(4)]
    try:
        await until(lambda: Turn.objects.count() == 3 and work.times > 0, within=6)
        await until(lambda: not KeptAnswer.objects.exists(), within=6)
        await asyncio.sleep(0.3)
        assert not any(one.done() for one in clocks)
    finally:
        for one in clocks:
            one.cancel()
        await asyncio.wait(clocks)

    assert work.times == 1
    records = AuditRecord.objects.filter(request_id=overdue.request_id, event="request:expired")
    assert await run_sync(records.count) == 1


async def test_chore_that_fails_does_not_stop_the_clock(redis_client: redis.Redis) -> None:
    def fail() -> int:
        raise LookupError

    await run_sync(factories.opened, now=timezone.now() - timedelta(seconds=299))
    task = asyncio.create_task(clock.run([Chore("sweep", timedelta(hours=1), fail)]))
    try:
        expired = AuditRecord.objects.filter(event="request:expired")
        await until(expired.exists, within=6)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_clock_measures_what_is_not_vouched_for_also_while_no_turn_is_its_own(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_unvouched", {})
    await run_sync(factories.opened)
    later = timezone.now() + timedelta(minutes=30)
    await run_sync(
        lambda: Turn.objects.bulk_create([Turn(name=c.name, due_at=later) for c in clock.CHORES])
    )
    task = asyncio.create_task(clock.run())
    try:
        await until(lambda: metrics._unvouched.get("tenant1") is not None, within=6)
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_keeping_answers_is_a_chore() -> None:
    assert idempotency.forget_old in [chore.work for chore in clock.CHORES]


def test_signing_the_audit_is_a_chore_of_every_hour() -> None:
    [chore] = [chore for chore in clock.CHORES if chore.work == checkpoints.sign_moved_heads]
    assert chore.interval == timedelta(hours=1)


# --- a decision that races its request's expiry -------------------------------------------


def told(request_id: str) -> dict[str, Any]:
    """Return all that tells of a request's end."""
    request = ApprovalRequest.objects.get(request_id=request_id)
    records = AuditRecord.objects.filter(request_id=request_id).exclude(event="request:opened")
    entries = OutboxEntry.objects.filter(request=request)
    return {
        "row": str(request.status),
        "audit": [record.event for record in records],
        "outbox": [json.loads(entry.signal)["status"] for entry in entries],
    }


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_end_that_races_expiry_is_one_and_told_alike(redis_client: redis.Redis, verb: str) -> None:
    ends: Counter[str] = Counter()
    for turn in range(ROUNDS):
        opened_at = timezone.now()
        request = factories.opened(timeout_seconds=10, now=opened_at)
        ear = Ear(redis_client, request.session_id)
        last = opened_at + timedelta(seconds=10) - timedelta(microseconds=1)
        early = turn % 2

        def decide(
            request: ApprovalRequest = request, now: datetime = last, early: int = early
        ) -> str:
            time.sleep(random.uniform(0, 0.004) * (1 - early))
            try:
                end = getattr(services, verb)(request.request_id, factories.actor(), now=now)
                return str(end.status)
            except RequestExpired:
                return "expired"
            except AlreadyDecided as already:
                return already.request.status

        def expire(
            request: ApprovalRequest = request, now: datetime = last, early: int = early
        ) -> str:
            time.sleep(random.uniform(0, 0.004) * early)
            services.expire_overdue(now=now + timedelta(microseconds=1))
            return ApprovalRequest.objects.get(pk=request.pk).status

        ends_told = set(together([decide, expire]))

        [end] = ends_told
        ends[end] += 1
        # On a busy machine the deciding process may have found Redis too slow.
        OutboxEntry.objects.pending().update(due_at=clocks.now())
        relay.send_due()
        is_signalled = end in ("approved", "rejected")
        assert told(request.request_id) == {
            "row": end,
            "audit": [f"request:{end}"],
            "outbox": [end] if is_signalled else [],
        }
        copy = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
        assert copy["status"] == end
        statuses = [json.loads(message)["status"] for message in ear.arrived()]
        assert statuses == ([end] if is_signalled else [])
        signal = redis_client.get(f"hitl:signal:{request.session_id}")
        assert (signal is not None) == is_signalled
        ear.close()
    assert sum(ends.values()) == ROUNDS


async def test_wait_answers_with_the_end_that_a_race_had(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    for _ in range(4):
        request = await run_sync(factories.opened, timeout_seconds=10)
        url = f"/aura/hitl/requests/{request.request_id}/wait?timeout=20"
        waiting = [asyncio.create_task(call("GET", url, REQUESTER)) for _ in range(3)]
        await asyncio.sleep(0.1)

        await run_sync(_race, request)

        answers = [await one for one in waiting]
        row = (await run_sync(told, request.request_id))["row"]
        assert [(answer.status, answer.data["status"]) for answer in answers] == [(200, row)] * 3


@pytest.mark.parametrize("_round", range(3))
async def test_stream_ends_as_the_race_that_its_question_had(
    redis_client: redis.Redis,
    settings: Settings,
    agents_reset: None,
    fresh_hub: None,
    _round: int,
) -> None:
    small_agents.configure(settings, small_agents.Asker)
    session, task = await small_agents.begun()
    question = await running.question()

    await run_sync(_race, question)

    events = await running.ended(session, task)
    ended = await run_sync(told, question.request_id)
    assert ended["audit"] == [f"request:{ended['row']}"]
    assert ended["outbox"] == (["approved"] if ended["row"] == "approved" else [])
    normal = ["tool_execution", "content", "end"]
    assert events[-3:] == (normal if ended["row"] == "approved" else ["failed", "error", "end"])


def _race(request: ApprovalRequest) -> None:
    """Have an approval at its last moment race its expiry; both have their turns at the front."""
    last = request.expires_at - timedelta(microseconds=1)

    def approve() -> None:
        time.sleep(random.uniform(0, 0.003))
        with suppress(RequestExpired):
            services.approve(request.request_id, factories.actor(), now=last)

    def expire() -> None:
        time.sleep(random.uniform(0, 0.003))
        services.expire_overdue(now=request.expires_at)

    together([approve, expire])
