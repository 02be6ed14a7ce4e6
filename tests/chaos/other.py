"""A second deployment on the same Redis server, with users and agents over REST of its own.

On one Redis number both adopt what agents write to Redis: nothing in it says for whom it is. The
second one never decides on it, so that agents hear the first one's decisions only. What either
opened itself, over REST or for a stream, is nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import cycle
from random import Random
from typing import Any

import psycopg

from tests.chaos import rest, users
from tests.chaos.cluster import Deployment
from tests.chaos.history import Origin, Question
from tests.chaos.world import World

# Conversations that begin here, for one that begins in the first deployment.
SHARE = 0.1
_CAST: tuple[Callable[[World, int], Coroutine[Any, Any, None]], ...] = (users.user, rest.agent)
# Whose primary keys are in names that Redis knows.
_TABLES = ("streaming_session", "hitl_approvalrequest")
_LAST = "SELECT coalesce(pg_sequence_last_value(%s::regclass), 0)"
_FEW = 5


async def load(world: World, first: World, rate: float, running: set[asyncio.Task[None]]) -> None:
    """Begin conversations until the first world closes; each has the primary key that the newest
    of the first deployment has."""
    rng = world.random("cast")
    for number, actor in enumerate(cycle(_CAST)):
        await world.sleep(rng.expovariate(rate * SHARE))
        if first.is_closing:
            return
        await asyncio.to_thread(_align, *world.cluster.deployments)
        task = asyncio.create_task(actor(world, number))
        running.add(task)
        task.add_done_callback(running.discard)
        await _ask_for_foreign(world, first, rng)
        await _ask_for_foreign(first, world, rng)


def _align(first: Deployment, other: Deployment) -> None:
    """Have the other database count on from where the first one is."""
    try:
        with first.connect() as one, other.connect() as two:
            for table in _TABLES:
                name = f"{table}_id_seq"
                last, others_last = (
                    (c.execute(_LAST, [name]).fetchone() or (0,))[0] for c in (one, two)
                )
                # Not by a few: others may be taking numbers at the same moment.
                if last > others_last + _FEW:
                    two.execute("SELECT setval(%s::regclass, %s)", [name, last])
    except psycopg.OperationalError:
        return  # PostgreSQL is away


async def _ask_for_foreign(world: World, owner: World, rng: Random) -> None:
    """Try to approve in one deployment what the other has opened a moment ago."""
    opened = [q for q in owner.history.questions.values() if _is_opened(q)][-5:]
    if not opened:
        return
    question = rng.choice(opened)
    headers = world.cluster.headers("approver-0", question.tenant, "approver")
    path = f"/aura/hitl/approve/{question.request_id}"
    answer = await world.call("POST", path, headers)
    world.history.foreign_approvals += answer is not None
    if answer is not None and answer.status != 404:
        said = f"approve of {question.request_id}, which another deployment opened"
        world.unexpected(f"{said}: {answer.status} {answer.body[:200]!r}")


def _is_opened(question: Question) -> bool:
    return question.origin is not Origin.OUTSIDE
