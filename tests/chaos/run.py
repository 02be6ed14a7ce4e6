"""One run: start everything, let clients work under faults, heal, wait, read, judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.chaos import (
    check_agents,
    check_decisions,
    check_other,
    check_streams,
    check_withheld,
    deciders,
    deserted,
    machine,
    other,
    outside,
    rest,
    snapshot,
    twins,
    users,
)
from tests.chaos.cluster import Cluster
from tests.chaos.faults import Faults
from tests.chaos.history import History, Question
from tests.chaos.outages import Outages
from tests.chaos.plan import plan
from tests.chaos.stored import Stored
from tests.chaos.verdict import Broken, Limits, Verdict
from tests.chaos.world import TENANTS, World

_SERVERS = 3
# Half of the agents are late subscribers on Redis, some of them several in one session.
_CAST: tuple[tuple[int, Callable[[World, int], Coroutine[Any, Any, None]]], ...] = (
    (36, outside.agent),
    (8, twins.agents),
    (4, deserted.agent),
    (25, users.user),
    (25, rest.agent),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What one run does. `rate` is how many conversations begin in a second."""

    seed: int = 1
    decisions: int = 10_000
    seconds: float = 3600.0
    # At least so long, however many decisions there are: each kind of fault takes its time.
    least_seconds: float = 60.0
    # Two cores keep up with it, and catch up after a fault: six a second are too many without any.
    rate: float = 3.6
    at_once: int = 300
    # A server that was killed takes some seconds of both cores to come back.
    every: float = 9.0
    question_seconds: int = 40
    patience: float = 4.0
    quiet_seconds: float = 150.0
    slack: float = 1.0
    without_faults: bool = False


@dataclass(slots=True)
class Result:
    options: Options
    history: History
    stored: Stored
    verdict: Verdict
    faults: Faults
    # What the other deployment's clients saw.
    others_history: History


async def run(options: Options, cluster: Cluster, say: Callable[[str], None]) -> Result:
    """Do one run on a cluster that has not been started, and judge it."""
    history = History(Outages(_SERVERS))
    world = World(
        str(options.seed), options.patience, cluster, history, cluster.links.front, TENANTS
    )
    others_history = History(Outages(1))
    other_port = cluster.server_ports[-1]
    others_world = World(
        f"{options.seed}-other", options.patience, cluster, others_history, other_port, 1
    )
    worlds = (world, others_world)
    faults = Faults(cluster, history.outages, options.seed)
    async with asyncio.TaskGroup() as group:
        say("starting PostgreSQL, Redis, three servers and a second deployment")
        await cluster.start()
        history.began_at = time.time()
        for one in worlds:
            _let_decide(one, group)
        planned = plan(options.seed, options.seconds, servers=_SERVERS, every=options.every)
        watching = asyncio.create_task(machine.watch(history))
        injecting = asyncio.create_task(faults.run([] if options.without_faults else planned))
        group.create_task(outside.vandal(world))
        others: set[asyncio.Task[None]] = set()
        group.create_task(other.load(others_world, world, options.rate, others))
        conversations = await _load(options, world, faults, say)
        for one in worlds:
            one.is_closing = True
        injecting.cancel()
        with suppress(asyncio.CancelledError):
            await injecting
        say("no new conversations; healing")
        await faults.healed()
        await _quiet(options, world, (conversations, others), say)
        history.ended_at = others_history.ended_at = time.time()
        for one in worlds:
            one.is_over.set()
        watching.cancel()
    say("reading what the database and Redis hold")
    first, second = cluster.deployments
    stored, others_stored = await asyncio.gather(
        snapshot.read(cluster, first), snapshot.read(cluster, second)
    )
    others_history.outages = history.outages.shared(1)
    verdict = Verdict(Limits().relaxed(options.slack))
    check_other.check(
        history,
        stored,
        others_history,
        others_stored,
        verdict,
        is_same_number=first.redis_number == second.redis_number,
    )
    judge(options, history, stored, verdict)
    for seconds in faults.drain_seconds:
        if seconds > verdict.limits.drain:
            verdict.violate(Broken.LATE, f"a server that was told to end took {seconds:.1f} s")
    return Result(options, history, stored, verdict, faults, others_history)


def _let_decide(world: World, group: asyncio.TaskGroup) -> None:
    """Have people decide on every question of this world."""

    def on_question(question: Question) -> None:
        group.create_task(deciders.crew(world, question))

    world.on_question, world.start = on_question, group.create_task
    for tenant in world.tenants:
        group.create_task(deciders.operator(world, tenant))


def judge(options: Options, history: History, stored: Stored, verdict: Verdict) -> None:
    """Add to the verdict what every check of one deployment finds."""
    check_withheld.check(history, stored, verdict)
    check_decisions.check(history, stored, verdict)
    check_agents.check(history, stored, verdict)
    check_streams.check(history, stored, verdict)
    decided = verdict.counts["requests approved"] + verdict.counts["requests rejected"]
    if decided < options.decisions:
        verdict.violate(Broken.TOO_FEW, f"{decided} of {options.decisions} in the time there was")


async def _load(
    options: Options, world: World, faults: Faults, say: Callable[[str], None]
) -> set[asyncio.Task[None]]:
    """Begin conversations until there are enough decisions or the time is over."""
    rng = world.random("cast")
    running: set[asyncio.Task[None]] = set()
    number, began, said = 0, time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < options.seconds:
        if world.decisions >= options.decisions and passed >= options.least_seconds:
            break
        await asyncio.sleep(rng.expovariate(options.rate))
        if len(running) < options.at_once:
            actor = rng.choices([who for _, who in _CAST], [often for often, _ in _CAST])[0]
            task = asyncio.create_task(actor(world, number))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(_raise)
            number += 1
        if passed - said >= 10:
            said = passed
            injected = sum(n for kind, n in faults.done.items() if kind != "passed over")
            say(
                f"{passed:6.0f} s  {world.decisions:6d} decisions, {len(running)} conversations "
                f"open, {injected} faults, {len(world.history.unexpected)} unexpected answers"
            )
    return running


async def _quiet(
    options: Options,
    world: World,
    conversations: Sequence[set[asyncio.Task[None]]],
    say: Callable[[str], None],
) -> None:
    """Wait until every conversation has ended, and every question could have expired.

    A session whose client was cut off before the first event id goes on without it, and may
    ask once more: it is waited for as well, or the state would change while it is read.
    """
    began = time.monotonic()
    least = options.question_seconds + 5.0
    while (passed := time.monotonic() - began) < options.quiet_seconds:
        if passed > least and not any(conversations) and snapshot.is_settled(world.cluster):
            break
        await asyncio.sleep(0.5)
    still = sum(map(len, conversations))
    say(f"quiet for {passed:.0f} s, {still} conversations still open")


def _raise(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        raise exc
