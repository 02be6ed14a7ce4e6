"""How an agent on Redis asks: it writes its request, and whose turn it is in its session."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random

from redis.exceptions import RedisError

from tests.chaos.history import Fate, Listening, Origin, Question
from tests.chaos.listening import client
from tests.chaos.world import World

_FATES = {Fate.DECIDE: 76, Fate.LISTED: 20, Fate.CANCEL: 3, Fate.EXPIRE: 1}


async def ask(world: World, number: int, session_id: str, turn: int, rng: Random) -> Listening:
    """Write the request and whose turn it is in the session, the way agents do."""
    tenant, user = world.tenant(number), f"asker-{number}"
    request_id = f"req-outside-{world.label}-{number}-{turn}"
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
    session: dict[str, str] | str = request_id
    if rng.random() < 0.8:
        session = {
            "sessionId": session_id,
            "requestId": request_id,
            "userId": user,
            "tenantId": tenant,
        }
    fate = rng.choices(list(_FATES), list(_FATES.values()))[0]
    question = Question(request_id, session_id, tenant, user, Origin.OUTSIDE, fate, 0.0)
    await _write(world, question, json.dumps(request), session)
    listening = Listening(question)
    world.history.listenings.append(listening)
    world.ask(question)
    return listening


async def _write(
    world: World, question: Question, request: str, session: dict[str, str] | str
) -> None:
    value = session if isinstance(session, str) else json.dumps(session)
    while not world.is_over.is_set():
        redis = client(world)
        # Taken before: a wipe that comes in between counts as one after.
        question.asked_at = time.time()
        try:
            async with asyncio.timeout(5):
                await redis.set(f"hitl:request:{question.request_id}", request, ex=1800)
                await redis.set(f"hitl:session:{question.session_id}", value, ex=3600)
            return
        except (RedisError, OSError, TimeoutError):
            await world.sleep(0.1)
        finally:
            await redis.aclose()
