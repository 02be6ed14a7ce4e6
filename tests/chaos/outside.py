"""Agents that write Redis themselves and subscribe late (wire.md, 5.3), and some that write
nonsense."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random

from redis.exceptions import RedisError

from tests.chaos.asking import prepare, write
from tests.chaos.history import Fate, Listening
from tests.chaos.listening import client, listen
from tests.chaos.world import World

_FATES = {Fate.DECIDE: 76, Fate.LISTED: 20, Fate.CANCEL: 3, Fate.EXPIRE: 1}
# An agent waits 300 s; here nobody thinks for so long. In times of what people think.
_WAIT = 15


async def agent(world: World, number: int) -> None:
    """Ask once, or twice in the same session: after the first answer or instead of it."""
    rng = world.random(f"outside {number}")
    session_id = f"outside-{world.label}-{number}"
    is_first_given_up = False
    if rng.random() < 0.4:
        is_first_given_up = rng.random() < 0.5
        seconds = rng.uniform(0.0, 0.4) if is_first_given_up else _WAIT * world.patience
        listening = await _ask(world, number, session_id, 1, rng)
        await _wait(world, listening, seconds, rng, is_late=not is_first_given_up)
        if listening.message is None:
            listening.abandoned_at = time.time()
            if not is_first_given_up:
                return
        await world.sleep(rng.choice((0.0, rng.uniform(0.0, 0.05), rng.uniform(0.0, 2.0))))
    if not world.is_over.is_set():
        listening = await _ask(world, number, session_id, 2, rng)
        await _wait(world, listening, _WAIT * world.patience, rng, is_late=True)


async def vandal(world: World) -> None:
    """Write values that are no requests, and sometimes ask for a decision on one."""
    rng = world.random("vandal")
    number = 0
    while not world.is_closing:
        number += 1
        request_id = f"malformed-{world.label}-{number}"
        value = rng.choice(
            (
                "no json",
                "[]",
                '{"requestId":7}',
                json.dumps({"requestId": request_id, "sessionId": "x"}),
                json.dumps(
                    {
                        "requestId": request_id,
                        "sessionId": "a\x07b",
                        "userId": "u",
                        "tenantId": world.tenant(0),
                        "actionType": "x",
                        "context": {},
                    }
                ),
                "\x00" * 10,
            )
        )
        redis = client(world)
        try:
            async with asyncio.timeout(5):
                await redis.set(f"hitl:request:{request_id}", value, ex=60)
            world.history.malformed.append(request_id)
        except (RedisError, OSError, TimeoutError):
            continue
        finally:
            await redis.aclose()
            await world.sleep(rng.uniform(0.5, 3.0))
        headers = world.cluster.headers("approver-0", world.tenant(0), "approver")
        answer = await world.call("POST", f"/aura/hitl/approve/{request_id}", headers)
        if answer is not None and answer.status != 404:
            world.unexpected(f"approve of malformed {value!r}: {answer.status} {answer.body!r}")


async def _ask(world: World, number: int, session_id: str, turn: int, rng: Random) -> Listening:
    fate = rng.choices(list(_FATES), list(_FATES.values()))[0]
    asking = prepare(world, number, session_id, turn, fate, rng)
    await write(world, asking)
    return asking.listening


async def _wait(
    world: World, listening: Listening, seconds: float, rng: Random, *, is_late: bool
) -> None:
    """Subscribe, after a delay from none to some seconds, and wait for the first message."""
    if is_late:
        longest = 3 * world.patience
        delays = (0.0, rng.uniform(0, 0.03), rng.uniform(0, 1), rng.uniform(0, longest))
        await world.sleep(rng.choice(delays))
    if listening.question.fate in (Fate.EXPIRE, Fate.CANCEL):
        seconds = min(seconds, 5 * world.patience)
    await listen(world, listening, seconds)
