"""Waiting for a request's end: woken by Redis, saved by the database (wire.md, 3.5)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from dwp_project.wakeup import READ_SECONDS, hub
from dwp_project.wakeup.publish import channel_prefix
from hitl import services, waiting
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration import outages
from tests.integration.outages import no_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_hub")]

# What is promised at once is held within this.
SOON = 10.0


# Within so many seconds the reader notices what no wake-up has said.
READ_WITHIN = 3 * READ_SECONDS


async def opened(**kwargs: object) -> ApprovalRequest:
    return await run_sync(factories.opened, **kwargs)  # type: ignore[arg-type]


async def begun(request: ApprovalRequest) -> asyncio.Task[ApprovalRequest]:
    """Return a wait that has read the database once and sleeps."""
    task = asyncio.create_task(waiting.until_ended(request.request_id))
    await asyncio.sleep(0.2)
    assert not task.done()
    return task


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (services.approve, "approved"),
        (services.reject, "rejected"),
        (services.cancel, "cancelled"),
    ],
)
async def test_waiter_is_woken_by_every_end(
    redis_client: redis.Redis, end: Callable[..., object], status: str
) -> None:
    request = await opened()
    task = await begun(request)

    await run_sync(end, request.request_id, factories.actor())

    async with asyncio.timeout(SOON):
        assert (await task).status == status


async def test_waiter_is_woken_through_redis(redis_client: redis.Redis) -> None:
    request = await opened()
    task = await begun(request)

    await run_sync(factories.decided_elsewhere, request)
    redis_client.publish(channel_prefix() + services.wake_topic(request.request_id), b"")

    async with asyncio.timeout(SOON):
        assert (await task).decided_by == "elsewhere"


async def test_waiter_that_no_wake_up_reaches_reads_again(redis_client: redis.Redis) -> None:
    request = await opened()
    task = await begun(request)

    await run_sync(factories.decided_elsewhere, request)

    async with asyncio.timeout(READ_WITHIN):
        assert (await task).decided_by == "elsewhere"


@pytest.mark.parametrize("trouble", ["redis_away", "redis_frozen"])
async def test_waiter_without_redis_reads_again(
    request: pytest.FixtureRequest, trouble: str
) -> None:
    request.getfixturevalue(trouble)
    asked = await opened()
    task = asyncio.create_task(waiting.until_ended(asked.request_id))
    await asyncio.sleep(0.3)

    await run_sync(factories.decided_elsewhere, asked)

    async with asyncio.timeout(READ_WITHIN):
        assert (await task).decided_by == "elsewhere"


async def test_waiter_survives_a_killed_link(redis_client: redis.Redis) -> None:
    request = await opened()
    task = await begun(request)

    await run_sync(factories.decided_elsewhere, request)
    redis_client.client_kill_filter(_type="pubsub")

    async with asyncio.timeout(SOON):
        assert (await task).decided_by == "elsewhere"


async def test_waiter_returns_a_request_that_ended_before(redis_client: redis.Redis) -> None:
    request = await opened()
    await run_sync(services.reject, request.request_id, factories.actor())

    async with asyncio.timeout(SOON):
        assert (await waiting.until_ended(request.request_id)).status == "rejected"


async def test_waiter_expires_what_is_overdue(redis_client: redis.Redis) -> None:
    request = await opened(now=timezone.now() - timedelta(seconds=299))

    async with asyncio.timeout(SOON):
        ended = await waiting.until_ended(request.request_id)

    assert (ended.status, ended.decided_by) == ("expired", "clock")


async def test_wait_with_a_limit_returns_what_is_pending(redis_client: redis.Redis) -> None:
    request = await opened()

    async with asyncio.timeout(SOON):
        current = await waiting.until_ended(request.request_id, seconds=0.3)

    assert current.status == "pending"


async def test_wait_for_an_unknown_request_raises(redis_client: redis.Redis) -> None:
    with pytest.raises(ApprovalRequest.DoesNotExist):
        await waiting.until_ended("req-none")


async def test_waiter_goes_on_after_the_database_was_away(redis_client: redis.Redis) -> None:
    request = await opened()
    task = await begun(request)

    with no_database():
        redis_client.publish(channel_prefix() + services.wake_topic(request.request_id), b"")
        await asyncio.sleep(0.3)
        assert not task.done()
    await run_sync(services.approve, request.request_id, factories.actor())

    async with asyncio.timeout(SOON):
        assert (await task).status == "approved"


async def test_wait_past_its_limit_does_not_storm_a_database_that_is_away(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    request = await opened()
    task = asyncio.create_task(waiting.until_ended(request.request_id, seconds=0.6))
    await asyncio.sleep(0.3)

    with no_database():
        async with asyncio.timeout(SOON):
            with pytest.raises(OperationalError):
                await task

    assert len([record for record in caplog.records if "database_away" in record.message]) < 20


async def test_forty_waiters_hold_no_thread(redis_client: redis.Redis) -> None:
    requests = [await opened() for _ in range(40)]
    tasks = [asyncio.create_task(waiting.until_ended(item.request_id)) for item in requests]
    await asyncio.sleep(0.5)

    async with asyncio.timeout(SOON):
        # The pool has eight threads; waiters in them would leave none for this.
        await run_sync(services.expire_overdue, now=requests[-1].expires_at)
        ended = await asyncio.gather(*tasks)

    assert {item.status for item in ended} == {"expired"}


async def test_300_waiters_share_one_connection_and_all_are_woken(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Woken by what they are told, and not because it is time to read again.
    monkeypatch.setattr(sys.modules["dwp_project.wakeup.reader"], "READ_SECONDS", 60.0)
    requests = [await opened() for _ in range(20)]
    tasks = [
        asyncio.create_task(waiting.until_ended(requests[number % 20].request_id))
        for number in range(300)
    ]
    await asyncio.sleep(1)
    listening = [one for one in redis_client.client_list() if int(one["sub"]) > 0]
    assert len(listening) == 1

    await run_sync(services.expire_overdue, now=requests[-1].expires_at)

    async with asyncio.timeout(3 * SOON):
        ended = await asyncio.gather(*tasks)
    assert {item.status for item in ended} == {"expired"}


async def test_waiter_on_a_frozen_link_reads_again(
    redis_client: redis.Redis, settings: Settings
) -> None:
    with outages.freezable_redis(settings) as link:
        request = await opened()
        task = await begun(request)
        link.freeze()

        await run_sync(factories.decided_elsewhere, request)
        redis_client.publish(channel_prefix() + services.wake_topic(request.request_id), b"")

        async with asyncio.timeout(READ_WITHIN):
            assert (await task).decided_by == "elsewhere"
        await hub().close()
