"""The one connection on which a process hears wake-ups, with a real Redis."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from pytest_django import Settings

from dwp_project import wakeup
from dwp_project.deployment import identity
from dwp_project.offload import run_sync
from dwp_project.wakeup import Hub, Pattern, Subscription, hub
from dwp_project.wakeup.publish import channel_prefix
from dwp_project.wakeup.subscription import QUEUE_BYTES, QUEUE_LIMIT
from tests.integration import outages
from tests.integration.outages import no_database, no_redis
from tests.integration.polling import until

pytestmark = pytest.mark.usefixtures("fresh_hub")

WAITERS = 500

# The module: the package offers its function under the same name.
hub_module: Any = importlib.import_module("dwp_project.wakeup.hub")


def from_elsewhere(client: redis.Redis, topic: str, payload: bytes = b"") -> None:
    """Publish as another process does: through Redis only."""
    client.publish(channel_prefix() + topic, payload)


async def payload_of(ear: Subscription) -> bytes | None:
    """Return the next payload, past the empty wake-ups that tell of a lost link."""
    while (payload := await ear.next(5)) == b"":
        pass
    return payload


def listening_connections(client: redis.Redis) -> int:
    return sum(1 for row in client.client_list() if int(row["sub"]) > 0)


async def test_subscription_hears_what_is_published_elsewhere(redis_client: redis.Redis) -> None:
    async with hub().subscribe("topic") as ear:
        assert await ear.confirmed(5)
        from_elsewhere(redis_client, "topic", b"payload")

        assert await ear.next(5) == b"payload"


async def test_subscription_hears_its_own_process_without_redis(redis_away: None) -> None:
    async with hub().subscribe("topic") as ear:
        assert not await ear.confirmed(0.1)
        await run_sync(wakeup.publish, "topic", b"payload")

        assert await payload_of(ear) == b"payload"


async def test_subscription_hears_no_other_topic(redis_client: redis.Redis) -> None:
    async with hub().subscribe("topic") as ear:
        await ear.confirmed(5)
        from_elsewhere(redis_client, "topics", b"x")
        from_elsewhere(redis_client, "topi", b"x")

        assert await ear.next(0.3) is None


async def test_subscription_hears_nothing_of_another_deployment(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub().subscribe("topic") as ear:
        assert await ear.confirmed(5)
        with monkeypatch.context() as patch:
            patch.setattr(identity, "_current", "another")
            from_elsewhere(redis_client, "topic", b"theirs")
        # As every deployment of a version without ids published.
        redis_client.publish("dwp:wake:topic", b"theirs")
        from_elsewhere(redis_client, "topic", b"ours")

        assert await ear.next(5) == b"ours"


@pytest.mark.django_db(transaction=True)
async def test_link_is_built_when_the_database_comes_back_that_has_the_id(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_current", None)
    with no_database():
        stack = AsyncExitStack()
        ear = await stack.enter_async_context(hub().subscribe("topic"))
        assert not await ear.confirmed(0.5)
        # Published to this process alone, without an error.
        await run_sync(wakeup.publish, "topic", b"own")
        assert await payload_of(ear) == b"own"
    async with stack:
        assert await ear.confirmed(5)
        await run_sync(identity.current)
        from_elsewhere(redis_client, "topic", b"payload")
        assert await payload_of(ear) == b"payload"


async def test_500_waiters_share_one_connection(redis_client: redis.Redis) -> None:
    async with AsyncExitStack() as stack:
        ears = [
            await stack.enter_async_context(hub().subscribe(f"topic-{number}"))
            for number in range(WAITERS)
        ]
        assert all(await asyncio.gather(*(ear.confirmed(15) for ear in ears)))
        assert listening_connections(redis_client) == 1

        for number in range(WAITERS):
            from_elsewhere(redis_client, f"topic-{number}", str(number).encode())

        payloads = await asyncio.gather(*(ear.next(15) for ear in ears))
        assert payloads == [str(number).encode() for number in range(WAITERS)]


async def test_500_waiters_may_subscribe_at_once(redis_client: redis.Redis) -> None:
    ready = asyncio.Semaphore(0)

    async def wait(number: int) -> bytes | None:
        async with hub().subscribe(f"topic-{number % 50}") as ear:
            assert await ear.confirmed(15)
            ready.release()
            return await ear.next(15)

    waiters = [asyncio.create_task(wait(number)) for number in range(WAITERS)]
    for _ in range(WAITERS):
        await ready.acquire()
    for number in range(50):
        from_elsewhere(redis_client, f"topic-{number}", str(number).encode())

    payloads = await asyncio.gather(*waiters)
    assert payloads == [str(number % 50).encode() for number in range(WAITERS)]


async def test_channel_is_left_with_the_last_waiter(redis_client: redis.Redis) -> None:
    def subscribers() -> int:
        [(_, count)] = redis_client.pubsub_numsub(channel_prefix() + "topic")
        return int(count)

    async with hub().subscribe("topic") as first:
        async with hub().subscribe("topic") as second:
            assert await first.confirmed(5)
            assert await second.confirmed(5)
            assert subscribers() == 1
        assert subscribers() == 1
    await until(lambda: subscribers() == 0, within=5)


async def test_channel_left_and_taken_again_at_once_is_heard(redis_client: redis.Redis) -> None:
    for turn in range(20):
        async with hub().subscribe("topic") as ear:
            assert await ear.confirmed(5)
            if turn % 2:
                from_elsewhere(redis_client, "topic", b"x")
                assert await ear.next(5) == b"x"


async def test_killed_link_is_rebuilt_and_its_waiters_woken(redis_client: redis.Redis) -> None:
    async with hub().subscribe("topic") as ear:
        assert await ear.confirmed(5)

        redis_client.client_kill_filter(_type="pubsub")

        # Woken to read the database: what was published meanwhile is lost.
        assert await ear.next(5) == b""
        assert await ear.confirmed(5)
        # And once more when the link stands: what was published in between is lost as well.
        assert await ear.next(5) == b""
        from_elsewhere(redis_client, "topic", b"payload")
        assert await ear.next(5) == b"payload"


async def test_link_that_breaks_in_an_unforeseen_way_is_rebuilt_and_its_waiters_woken(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(*args: object, **kwargs: object) -> None:
        # As asyncio's reader says it when two coroutines wait on one connection.
        raise RuntimeError("readuntil() called while another coroutine is already waiting")

    async with hub().subscribe("topic") as ear:
        assert await ear.confirmed(5)

        with monkeypatch.context() as patch:
            patch.setattr(redis.asyncio.client.PubSub, "get_message", break_off)
            assert await ear.next(5) == b""

        # Redis may still count the broken link as a subscriber: only the hub knows of the new one.
        assert await ear.confirmed(5)
        from_elsewhere(redis_client, "topic", b"payload")
        assert await payload_of(ear) == b"payload"


async def test_refused_channel_does_not_disturb_others(
    redis_client: redis.Redis, settings: Settings
) -> None:
    redis_client.acl_setuser(
        "restricted",
        enabled=True,
        passwords=["+secret"],
        keys=["*"],
        reset_channels=True,
        channels=[f"{channel_prefix()}*"],
        commands=["+@all"],
    )
    settings.REDIS_URL = settings.REDIS_URL.replace("unix://", "unix://restricted:secret@")
    try:
        async with hub().subscribe("topic") as ear, hub().subscribe(Pattern("other*")) as refused:
            assert await ear.confirmed(5)
            assert not await refused.confirmed(1)

            from_elsewhere(redis_client, "topic", b"payload")

            # Nothing before it: no link was lost.
            assert await ear.next(5) == b"payload"
    finally:
        await hub().close()
        redis_client.acl_deluser("restricted")


async def test_link_is_built_when_redis_comes_back(
    settings: Settings, redis_client: redis.Redis
) -> None:
    with no_redis(settings):
        stack = AsyncExitStack()
        ear = await stack.enter_async_context(hub().subscribe("topic"))
        assert not await ear.confirmed(0.5)
    async with stack:
        assert await ear.confirmed(5)
        from_elsewhere(redis_client, "topic", b"payload")
        assert await payload_of(ear) == b"payload"


@pytest.mark.slow
async def test_frozen_link_is_rebuilt_after_ten_seconds_of_silence(
    settings: Settings, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (hub_module.SILENCE_SECONDS, hub_module.PING_SECONDS) == (10.0, 3.0)
    # A quarter of the promise, so that the test need not take as long.
    monkeypatch.setattr(hub_module, "SILENCE_SECONDS", 2.5)
    monkeypatch.setattr(hub_module, "PING_SECONDS", 0.5)
    with outages.freezable_redis(settings) as link:
        async with hub().subscribe("topic") as ear:
            assert await ear.confirmed(5)
            # Pings keep a link on which nothing is told.
            assert await ear.next(3.5) is None
            assert link.freeze() == 1

            assert await ear.next(3 * 2.5) == b""
            assert await ear.confirmed(5)
            assert await ear.next(5) == b""
            from_elsewhere(redis_client, "topic", b"payload")
            assert await ear.next(5) == b"payload"
        await hub().close()


async def test_waiter_that_is_cancelled_while_its_channel_is_left_is_cancelled(
    redis_client: redis.Redis,
) -> None:
    async def wait() -> None:
        async with hub().subscribe("topic") as ear:
            await ear.confirmed(5)
            await ear.next(60)

    waiter = asyncio.create_task(wait())
    await until(lambda: redis_client.pubsub_numsub(f"{channel_prefix()}topic")[0][1] == 1, within=5)
    # The connection is busy with another's command, and stays so for a while.
    async with hub()._lock:
        waiter.cancel()
        await asyncio.sleep(0)
        waiter.cancel()
        _, pending = await asyncio.wait([waiter], timeout=3)
        assert not pending
    assert waiter.cancelled()
    await until(lambda: redis_client.pubsub_numsub(f"{channel_prefix()}topic")[0][1] == 0, within=5)


async def test_publish_to_a_frozen_redis_wakes_this_process_at_once(redis_frozen: None) -> None:
    async with hub().subscribe("topic") as ear:
        publishing = asyncio.create_task(run_sync(wakeup.publish, "topic", b"payload"))

        assert await ear.next(5) == b"payload"
        await publishing


async def test_frozen_redis_delays_nobody_who_subscribes_or_leaves(redis_frozen: None) -> None:
    loop = asyncio.get_running_loop()
    async with hub().subscribe("topic") as ear:
        await ear.next(0.1)
        leaving = loop.time()

    # A subscription that Redis does not confirm is given up after a second: three of them.
    assert loop.time() - leaving < 3


async def test_hub_that_was_closed_opens_again(redis_client: redis.Redis) -> None:
    async with hub().subscribe("topic"):
        await hub().close()
    async with hub().subscribe("topic") as ear:
        assert await ear.confirmed(5)


async def test_hub_is_one_per_event_loop() -> None:
    assert hub() is hub()
    assert isinstance(hub(), Hub)


# --- one waiter's queue -------------------------------------------------------------------


async def test_queue_that_overflows_wakes_with_an_empty_payload() -> None:
    ear = Subscription("topic")
    for number in range(QUEUE_LIMIT + 1):
        ear.deliver(str(number).encode())

    assert await ear.next(1) == b""
    assert await ear.next(0.01) is None


async def test_queue_is_bounded_in_bytes_as_well() -> None:
    ear = Subscription("topic")
    half = b"x" * (QUEUE_BYTES // 2)
    ear.deliver(half)
    ear.deliver(half)
    assert [await ear.next(1), await ear.next(1)] == [half, half]

    for _ in range(3):
        ear.deliver(half)
    assert await ear.next(1) == b""
    assert await ear.next(0.01) is None

    # One alone may be too large; what was taken out counts no more.
    ear.deliver(b"x" * (QUEUE_BYTES + 1))
    assert await ear.next(1) == b""
    ear.deliver(half)
    assert await ear.next(1) == half


async def test_queue_keeps_order_and_goes_on_after_an_overflow() -> None:
    ear = Subscription("topic")
    for number in range(QUEUE_LIMIT):
        ear.deliver(str(number).encode())
    assert [await ear.next(1) for _ in range(3)] == [b"0", b"1", b"2"]

    for _ in range(4):
        ear.deliver(b"late")

    assert await ear.next(1) == b""
    assert await ear.next(0.01) is None
    ear.deliver(b"next")
    assert await ear.next(1) == b"next"


async def test_wait_that_is_cancelled_as_it_is_woken_ends_and_loses_nothing() -> None:
    ear = Subscription("topic")
    waiting = asyncio.create_task(ear.next(5))
    await asyncio.sleep(0)
    ear.deliver(b"payload")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await ear.next(1) == b"payload"


async def test_silence_is_returned_as_none() -> None:
    assert await Subscription("topic").next(0.01) is None
    assert await Subscription("topic").next(-1) is None


async def test_waiter_that_is_cancelled_while_subscribing_leaves_the_channel_to_the_next(
    redis_client: redis.Redis,
) -> None:
    async with hub().subscribe("another") as other:
        assert await other.confirmed(5)

        async def wait() -> None:
            async with hub().subscribe("topic"):
                await asyncio.sleep(60)

        async with hub()._lock:
            waiter = asyncio.create_task(wait())
            await asyncio.sleep(0.05)
            waiter.cancel()
            await asyncio.wait([waiter], timeout=3)
        assert waiter.cancelled()
        assert "topic" not in hub()._topics

        async with hub().subscribe("topic") as ear:
            assert await ear.confirmed(5)
            from_elsewhere(redis_client, "topic", b"payload")
            assert await payload_of(ear) == b"payload"


async def test_hub_closes_though_a_cancellation_was_swallowed(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    swallowed = 0

    async def read(self: Hub, pubsub: Any) -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    monkeypatch.setattr(Hub, "_read", read)
    own = hub()
    async with own.subscribe("topic"):
        await until(lambda: own._was_up, within=5)

    await asyncio.wait_for(hub().close(), 10)

    assert swallowed == 2


async def test_waiter_beside_a_cancelled_one_still_gets_the_channel(
    redis_client: redis.Redis,
) -> None:
    async def wait() -> None:
        async with hub().subscribe("topic") as ear:
            await ear.confirmed(10)
            await asyncio.sleep(60)

    async with hub().subscribe("another") as other:
        assert await other.confirmed(5)
        async with hub()._lock:
            first = asyncio.create_task(wait())
            await asyncio.sleep(0.05)
            second = asyncio.create_task(wait())
            await asyncio.sleep(0.05)
            first.cancel()
            await asyncio.wait([first], timeout=3)

        await until(
            lambda: redis_client.pubsub_numsub(f"{channel_prefix()}topic")[0][1] == 1, within=5
        )
        second.cancel()
        await asyncio.wait([second], timeout=3)
