"""Does to a cluster what the plan says, and notes when each part was away."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.chaos.cluster import Cluster
from tests.chaos.outages import Outages, Part
from tests.chaos.plan import OF_SERVERS, Fault, Kind


class Faults:
    """The faults of one run. `done` counts them by kind."""

    def __init__(self, cluster: Cluster, outages: Outages, seed: int) -> None:
        self._cluster, self._outages, self._seed = cluster, outages, seed
        self.done: Counter[str] = Counter()
        self.drain_seconds: list[float] = []
        self._running: set[asyncio.Task[None]] = set()
        self._redis, self._database = asyncio.Lock(), asyncio.Lock()

    async def run(self, faults: Sequence[Fault]) -> None:
        """Begin each fault at its time; cancelled, begin no more of them."""
        began = time.monotonic()
        for fault in faults:
            await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
            if fault.kind in OF_SERVERS and not self._can_spare(fault.target):
                self.done["passed over"] += 1
                continue
            self.done[fault.kind] += 1
            task = asyncio.create_task(self._do(fault), name=str(fault))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def healed(self) -> None:
        """Return when every fault that has begun is over; raises what one of them raised."""
        while running := list(self._running):
            await asyncio.gather(*running)

    def _can_spare(self, number: int) -> bool:
        """Say whether this server runs, and another one with it."""
        now = time.time()
        away = self._outages.between(now, now + 0.001, Part.SERVER, Part.STOPPED)
        busy = {outage.target for outage in away}
        return number not in busy and len(busy) < self._outages.servers - 1

    @asynccontextmanager
    async def _away(self, part: Part, target: int, how: str) -> AsyncIterator[None]:
        outage = self._outages.begin(part, target, how, time.time())
        try:
            yield
        finally:
            outage.ended = time.time()

    async def _do(self, fault: Fault) -> None:
        cluster, target = self._cluster, fault.target
        match fault.kind:
            case Kind.KILL:
                async with self._away(Part.SERVER, target, "killed"):
                    cluster.servers[target].kill()
                    await asyncio.sleep(fault.seconds)
                    await cluster.start_server(target)
            case Kind.DRAIN:
                async with self._away(Part.SERVER, target, "drained"):
                    missed = self._outages.missed
                    seconds = await cluster.drain_server(target)
                    # Seconds in which the machine did not run do not count.
                    self.drain_seconds.append(seconds - (self._outages.missed - missed))
                    await asyncio.sleep(fault.seconds)
                    await cluster.start_server(target)
            case Kind.STOP:
                async with self._away(Part.STOPPED, target, "stopped"):
                    cluster.servers[target].send(signal.SIGSTOP)
                    await asyncio.sleep(fault.seconds)
                    cluster.servers[target].send(signal.SIGCONT)
            case Kind.FREEZE:
                async with self._away(Part.LINK, target, "frozen"):
                    await cluster.links.freeze(target, True)
                    await asyncio.sleep(fault.seconds)
                    await cluster.links.freeze(target, False)
            case Kind.CUT:
                async with self._away(Part.LINK, target, "cut"):
                    await cluster.links.cut(target, True)
                    await asyncio.sleep(fault.seconds)
                    await cluster.links.cut(target, False)
            case Kind.HOLD:
                await self._hold(fault)
            case Kind.DROP:
                await cluster.links.drop_clients(fault.share, f"{self._seed}:{fault.at}")
            case _:
                await self._restart(fault)

    async def _hold(self, fault: Fault) -> None:
        """Hold a server's decisions where they commit, and let them once the server is dead: then
        nobody is woken by them."""
        cluster, target = self._cluster, fault.target
        async with self._away(Part.SERVER, target, "killed before its commits"):
            # Others wait for the locks that these commits have.
            async with (
                self._database,
                self._away(Part.DATABASE, 0, "commits held"),
                cluster.commits_held(target),
            ):
                await asyncio.sleep(fault.seconds)
                cluster.servers[target].kill()
            await cluster.start_server(target)

    async def _restart(self, fault: Fault) -> None:
        """Restart Redis, which forgets everything, or PostgreSQL, which forgets nothing."""
        cluster = self._cluster
        if fault.kind is Kind.WIPE:
            async with self._redis, self._away(Part.REDIS, 0, "restarted empty"):
                cluster.redis.kill()
                await asyncio.sleep(fault.seconds)
                await cluster.start_redis()
        else:
            mode = "immediate" if fault.share > 0.5 else "fast"
            async with self._database, self._away(Part.DATABASE, 0, mode):
                await cluster.postgres.stop(mode)
                await asyncio.sleep(fault.seconds)
                await cluster.postgres.start()
