"""How a deployed agent waits: it subscribes late and takes the first message for its answer."""

from __future__ import annotations

import asyncio
import time

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.chaos.history import Listening, Subscription
from tests.chaos.world import World

# Nobody subscribes to the channels but the agents themselves: a listener of the run's own,
# even by pattern, would be counted by PUBLISH as an agent that has received the signal.


def client(world: World) -> Redis:
    """Return a connection straight to Redis, as agents elsewhere have it."""
    return Redis(
        port=world.cluster.redis_port,
        single_connection_client=True,
        decode_responses=True,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )


async def listen(world: World, listening: Listening, seconds: float) -> bool:
    """Wait up to `seconds` for the first message on the session's channel; say if one came.

    Subscribes again whenever the connection breaks, as Redis was restarted.
    """
    deadline = time.time() + seconds
    while time.time() < deadline and not world.is_over.is_set():
        redis = client(world)
        try:
            if await _subscribed(world, redis, listening, deadline):
                return True
        except (RedisError, OSError, TimeoutError):
            await world.sleep(0.1)
        finally:
            await redis.aclose()
    return False


async def _subscribed(world: World, redis: Redis, listening: Listening, deadline: float) -> bool:
    subscription: Subscription | None = None
    pubsub = redis.pubsub()
    try:
        await pubsub.subscribe(f"hitl:channel:{listening.question.session_id}")
        while time.time() < deadline and not world.is_over.is_set():
            async with asyncio.timeout(5):
                message = await pubsub.get_message(timeout=min(1.0, deadline - time.time()))
            if message is None:
                continue
            if message["type"] == "subscribe":
                subscription = Subscription(time.time())
                listening.subscriptions.append(subscription)
            elif message["type"] == "message":
                listening.message, listening.received_at = message["data"], time.time()
                return True
        return False
    finally:
        if subscription is not None:
            subscription.ended = time.time()
        await pubsub.aclose()
