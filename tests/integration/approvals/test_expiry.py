"""Requests that nobody answers (docs/reference/wire.md, 3.2 and 4.4)."""

from __future__ import annotations

import json
from datetime import timedelta

import anyio
import pytest
import redis
from django.utils import timezone

from dwp_project.offload import run_sync
from hitl import services
from hitl.background import clock
from hitl.errors import RequestExpired
from hitl.models import ApprovalRequest, AuditChain, AuditRecord, OutboxEntry
from hitl.states import Status
from tests import factories
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db(transaction=True)


def test_request_is_decidable_to_the_last_moment(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=10)
    last = request.expires_at - timedelta(microseconds=1)

    decided = services.approve(request.request_id, factories.actor(), now=last)

    assert decided.status == Status.APPROVED


def test_request_expires_at_its_time_for_whoever_comes(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=10)

    with pytest.raises(RequestExpired):
        services.approve(request.request_id, factories.actor(), now=request.expires_at)

    request.refresh_from_db()
    assert (request.status, request.decided_by) == (Status.EXPIRED, "clock")


def test_expiry_leaves_alone_what_is_not_due(redis_client: redis.Redis) -> None:
    now = timezone.now()
    due = factories.opened(timeout_seconds=10, now=now)
    not_due = factories.opened(timeout_seconds=11, now=now)
    decided = factories.opened(timeout_seconds=10, now=now)
    services.reject(decided.request_id, factories.actor(), now=now)

    expired = services.expire_overdue(now=now + timedelta(seconds=10))

    assert expired == 1
    states = dict(ApprovalRequest.objects.values_list("request_id", "status"))
    assert states == {
        due.request_id: "expired",
        not_due.request_id: "pending",
        decided.request_id: "rejected",
    }


def test_expiry_takes_the_oldest_first_and_bounded(redis_client: redis.Redis) -> None:
    now = timezone.now()
    requests = [factories.opened(timeout_seconds=seconds, now=now) for seconds in (30, 10, 20)]

    assert services.expire_overdue(now=now + timedelta(seconds=60), limit=2) == 2

    assert ApprovalRequest.objects.pending().get() == requests[0]


def test_expiry_publishes_nothing(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=10)

    with redis_client.pubsub() as ear:
        ear.psubscribe("hitl:*")
        ear.get_message(timeout=5)
        services.expire_overdue(now=request.expires_at)
        assert ear.get_message(timeout=0.3) is None

    assert not OutboxEntry.objects.exists()
    assert redis_client.get(f"hitl:signal:{request.session_id}") is None


def test_expiry_keeps_the_requests_key_up_to_date(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=10)

    services.expire_overdue(now=request.expires_at)

    document = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert document["status"] == "expired"


def test_expiry_is_never_a_rejection(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=10)

    services.expire_overdue(now=request.expires_at)

    events = AuditRecord.objects.order_by("sequence").values_list("event", flat=True)
    assert list(events) == ["request:opened", "request:expired"]


def test_expiry_works_with_redis_away(redis_away: None) -> None:
    request = factories.opened(timeout_seconds=10)

    assert services.expire_overdue(now=request.expires_at) == 1


async def test_clock_expires_what_nobody_waits_for(redis_client: redis.Redis) -> None:
    await run_sync(factories.opened, now=timezone.now() - timedelta(seconds=299))
    is_expired = AuditRecord.objects.filter(event="request:expired").exists

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        # Due in a second, looked for every second: three times that is the bound.
        await until(is_expired, within=6)
        tasks.cancel_scope.cancel()


async def test_clock_outlives_a_database_that_is_away(redis_client: redis.Redis) -> None:
    is_expired = AuditRecord.objects.filter(event="request:expired").exists
    await run_sync(factories.opened, now=timezone.now() - timedelta(seconds=400))

    async with anyio.create_task_group() as tasks:
        with no_database():
            tasks.start_soon(clock.run)
            await anyio.sleep(0.3)
        await until(is_expired, within=6)
        tasks.cancel_scope.cancel()


def test_chain_that_takes_no_record_holds_up_no_other_tenant(redis_client: redis.Redis) -> None:
    now = timezone.now()
    broken = [factories.opened(timeout_seconds=10, now=now) for _ in range(3)]
    theirs = factories.opened(by=OUTSIDER, timeout_seconds=11, now=now)
    AuditChain.objects.filter(tenant_id="tenant1").update(last_sequence=0)

    expired = services.expire_overdue(now=now + timedelta(seconds=20), limit=2)

    assert expired == 1
    theirs.refresh_from_db()
    assert theirs.status == "expired"
    assert ApprovalRequest.objects.filter(status="pending").count() == len(broken)
