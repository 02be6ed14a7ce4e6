"""How an agent on Redis asks: it writes its request, and whose turn it is in its session."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from random import Random

from redis.exceptions import RedisError

from tests.chaos.history import Fate, Listening, Origin, Question
from tests.chaos.listening import client
from tests.chaos.world import World


@dataclass(slots=True)
class Asking:
    """One question, and the keys that are still to be written for it: name, value, seconds."""

    question: Question
    listening: Listening
    keys: list[tuple[str, str, int]]


def prepare(
    world: World, number: int, session_id: str, turn: int, fate: Fate, rng: Random, tenant: str = ""
) -> Asking:
    """Return the question of this turn, of which nothing is written yet."""
    user = f"asker-{number}"
    request_id = f"req-{session_id}-{turn}"
    tenant = tenant or world.tenant(number)
    request = {
        "requestId": request_id,
        "sessionId": session_id,
        "userId": user,
        "tenantId": tenant,
        "actionType": "send_mail",
        "context": {"turn": turn, "to": f"person-{rng.randrange(1000)}"},
        "status": "pending",
        # Not to be trusted.
        "createdAt": rng.choice((0, int(time.time()), int(time.time() * 1000), 2**40)),
    }
    session = request_id
    if rng.random() < 0.8:
        members = {"sessionId": session_id, "requestId": request_id}
        session = json.dumps(members | {"userId": user, "tenantId": tenant})
    question = Question(request_id, session_id, tenant, user, Origin.OUTSIDE, fate, 0.0)
    keys = [
        (f"hitl:request:{request_id}", json.dumps(request), 1800),
        (f"hitl:session:{session_id}", session, 3600),
    ]
    return Asking(question, Listening(question), keys)


async def write(world: World, asking: Asking, most: int = 2) -> None:
    """Write up to so many of the keys that are left; after the last one those who decide know."""
    question, keys, is_first = asking.question, asking.keys[:most], not asking.question.asked_at
    while not world.is_over.is_set():
        redis = client(world)
        if is_first:
            # Taken before: a wipe that comes in between counts as one after.
            question.asked_at = time.time()
        try:
            async with asyncio.timeout(5):
                for name, value, seconds in keys:
                    await redis.set(name, value, ex=seconds)
        except (RedisError, OSError, TimeoutError):
            await world.sleep(0.1)
            continue
        finally:
            await redis.aclose()
        del asking.keys[:most]
        if not asking.keys:
            question.written_at = time.time()
            world.history.listenings.append(asking.listening)
            world.ask(question)
        return
