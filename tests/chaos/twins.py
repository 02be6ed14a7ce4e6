"""Agents that ask in one session within a second, each waiting for its own answer.

Deployed agents name a session after its user and the second, so two questions of one user share a
session and its channel, and each agent takes the first message there for its answer.
"""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from random import Random

from tests.chaos import deciders
from tests.chaos.asking import Asking, prepare, write
from tests.chaos.history import Fate, Question
from tests.chaos.listening import listen
from tests.chaos.world import World

# As long as deployed agents wait: the answer to the other's question may come late. They begin less
# than 10 s after they have asked, and so have stopped 310 s after (wire.md, 5.3).
_WAIT, _LATEST = 300.0, 8.0
# Two writes, and subscribing.
_STEPS = 3
# The second agent may ask after so many seconds; its answer is then sent before it gives up.
_LEAST_LATER = 15.0
_MOST_LATER = 15
_FATES = {Fate.DECIDE: 60, Fate.LISTED: 35, Fate.CANCEL: 5}


async def agents(world: World, number: int) -> None:
    """Ask two or three times, in any order of writing, subscribing and deciding."""
    rng = world.random(f"twins {number}")
    session_id = f"twins-{world.label}-{number}_{int(time.time())}"
    is_of_two_tenants = rng.random() < 0.2
    is_one_later = _MOST_LATER * world.patience > 2 * _LEAST_LATER and rng.random() < 0.2
    tenants = cycle([world.tenant(number), world.tenant(number + is_of_two_tenants)])
    fates = _fates(rng)
    if is_one_later:
        fates = [rng.choice((Fate.EXPIRE, Fate.CANCEL, Fate.DECIDE)), Fate.DECIDE]
    askings = [
        prepare(world, number, session_id, turn, fate, rng, next(tenants))
        for turn, fate in enumerate(fates, start=1)
    ]
    for asking in askings:
        asking.question.is_channel_shared = True
        asking.question.may_be_refused = is_of_two_tenants
        if rng.random() < 0.15:
            asking.keys.reverse()
    turns = [turn for turn in range(len(askings)) for _ in range(_STEPS)]
    if rng.random() < 0.4 and not is_one_later:
        rng.shuffle(turns)
    pause = rng.choice((0.0, 0.01, 0.1))
    for step, turn in enumerate(turns):
        if is_one_later and step == _STEPS:
            await world.sleep(rng.uniform(_LEAST_LATER, _MOST_LATER * world.patience))
            if world.is_closing:
                return
        asking = askings[turn]
        if asking.keys:
            await write(world, asking, 1)
        else:
            await _subscribe(world, asking, rng)
        await world.sleep(rng.uniform(0.0, pause))
    ordered = [a.question for a in askings if a.question.fate is Fate.ORDERED]
    await world.sleep(deciders.thought(world, rng))
    await _decide(world, ordered, rng)


def _fates(rng: Random) -> list[Fate]:
    count = rng.choice((2, 2, 2, 3))
    if rng.random() < 0.6:
        return [Fate.ORDERED] * count
    return rng.choices(list(_FATES), list(_FATES.values()), k=count)


async def _subscribe(world: World, asking: Asking, rng: Random) -> None:
    """Have the agent listen from now on, and return once it does; or have it subscribe late."""
    if rng.random() < 0.4:
        delay = rng.uniform(0.0, min(_LATEST, 3 * world.patience))
        world.start(_wait(world, asking, delay, rng))
        return
    world.start(_wait(world, asking, 0.0, rng))
    for _ in range(200):
        if asking.listening.subscriptions:
            return
        await asyncio.sleep(0.005)


async def _wait(world: World, asking: Asking, delay: float, rng: Random) -> None:
    """Wait for the first message, over one connection or over a second after the first broke."""
    await world.sleep(delay)
    deadline = time.time() + _WAIT
    if rng.random() < 0.25:
        if await listen(world, asking.listening, rng.uniform(0.0, 3.0)):
            return
        await world.sleep(rng.uniform(0.0, 1.0))
    await listen(world, asking.listening, deadline - time.time())


async def _decide(world: World, questions: list[Question], rng: Random) -> None:
    """Decide the older one first, the newer one first, all at once, or only one."""
    rng.shuffle(questions)
    if rng.random() < 0.25:
        del questions[1:]
    if rng.random() < 0.4:
        races = [deciders.race(world, question, Random(rng.random())) for question in questions]
        await asyncio.gather(*races)
        return
    for question in questions:
        await deciders.race(world, question, rng)
        await world.sleep(rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, world.patience))))
