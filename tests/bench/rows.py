"""The rows of the table, measured one after the other in an order that needs each crowd once."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from tests.bench import floor
from tests.bench.crowd import Crowd
from tests.bench.measure import TENANT, Bench, milliseconds, rate
from tests.chaos import wire
from tests.chaos.report import percentile

_CALLERS = 16
_OLD_SECONDS = 3.0
_PROMPT = {"prompt": "Delete 3 emails"}


# What a row's figures are to reach: at most, but for multiples of plain's rates, at least.
_STREAM = "decision → the stream's next event"
REACH: dict[str, dict[str, float]] = {
    "decision → an agent on Redis": {"p50_floor": 5, "p99_floor": 12},
    "decision → an agent in `wait`": {"p50_floor": 6, "p99_floor": 15},
    f"{_STREAM}, nobody else there": {"p50_floor": 8, "p99_floor": 20},
    f"{_STREAM}, among 1000 idle watchers": {"p50_floor": 9, "p99_floor": 25},
    f"{_STREAM}, among 1000 waiting agents": {"p50_floor": 9, "p99_floor": 25},
    f"{_STREAM}, among 3000 idle watchers": {"p50_floor": 10, "p99_floor": 40},
    "approve, one caller": {"times_plain": 0.9},
    "processor of one approve": {"milliseconds": 10},
    f"approve, {_CALLERS} callers, a second": {"times_plain": 1.5},
    f"open, {_CALLERS} callers, a second": {"times_plain": 1.5},
    "3000 idle watchers": {"core": 0.04, "transactions": 20},
    "500 agents that wait": {"core": 0.02},
    "500 agents that wait, their clients gone": {"core": 0.02},
}


def is_reached(name: str, figures: dict[str, float]) -> bool:
    """Say whether the figures of a row of `REACH` are where they are to be."""
    return all(
        figures[key] >= reach if "rate" in figures else figures[key] <= reach
        for key, reach in REACH[name].items()
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything a run takes."""

    samples: int = 60
    plain: int = 400
    idle_seconds: float = 15.0
    after_seconds: float = 8.0
    # Each adds watchers until there are so many.
    watchers: tuple[int, ...] = (300, 1000, 3000)
    agents: int = 500
    more_agents: int = 1000


QUICK = Sizes(10, 32, 3.0, 3.0, (20, 60, 100), 20, 40)


@dataclass(slots=True)
class Table:
    """What was measured: by row its figures, and what the chart shows."""

    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    # Open streams, and p50 and p99 of the waiting stream's next event among them.
    chart: list[tuple[int, float, float]] = field(default_factory=list)

    def delays(self, name: str, values: list[float]) -> None:
        self.put(name, p50=percentile(values, 50), p99=percentile(values, 99))

    def compare(self, floors: list[float]) -> None:
        """Set the delays against the floor's p50."""
        base = percentile(floors, 50)
        for row in self.rows.values():
            if "p99" in row:
                row["p50_floor"] = round(row["p50"] / base, 2)
                row["p99_floor"] = round(row["p99"] / base, 2)
        self.delays("floor", floors)

    def put(self, name: str, **figures: float) -> None:
        self.rows[name] = {key: round(value, 3) for key, value in figures.items()}
        print(f"  {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in figures.items()))


async def measure(bench: Bench, sizes: Sizes, parts: Iterable[str] = ()) -> Table:
    """Measure these of `PARTS`, or all."""
    table = Table()
    floors: list[float] = []
    for part in parts or PARTS:
        # In between, so that what else the machine does falls on both.
        url, times = bench.postgres.url, sizes.plain // 4
        floors += await asyncio.to_thread(floor.delays, url, bench.redis_port, times)
        await PARTS[part](bench, sizes, table)
    table.compare(floors)
    return table


async def _agents_outside(bench: Bench, sizes: Sizes, table: Table) -> None:
    table.delays("decision → an agent on Redis", await _redis_agents(bench, sizes.samples))
    waits = [await _wait(bench) for _ in range(sizes.samples)]
    table.delays("decision → an agent in `wait`", waits)


async def _calls(bench: Bench, sizes: Sizes, table: Table) -> None:
    """Approve and open, ours and plain in turns, so that both have the same neighbours."""
    alone: dict[int, list[float]] = {bench.port: [], bench.plain_port: []}
    for _ in range(sizes.samples):
        for port, values in alone.items():
            request_id = await bench.open(port=port)
            values.append(await milliseconds(partial(bench.approve, request_id, port=port)))
    ours, plain = (percentile(values, 50) for values in alone.values())
    table.put("approve, one caller", p50=ours, plain=plain, times_plain=ours / plain)

    idle, _ = await bench.idle(sizes.idle_seconds)
    ids = [await bench.open() for _ in range(sizes.samples)]
    # What opening leaves to be done is over before the first decision.
    await asyncio.sleep(2)
    began_at, processor = time.monotonic(), bench.processor_seconds()
    for request_id in ids:
        await bench.approve(request_id)
    await asyncio.sleep(sizes.after_seconds)
    spent = bench.processor_seconds() - processor - idle * (time.monotonic() - began_at)
    table.put("processor of one approve", milliseconds=spent / len(ids) * 1000)

    for name in ("open", "approve"):
        rates = []
        for port in alone:
            if name == "open":
                steps: list[Callable[[], Awaitable[object]]] = [
                    partial(bench.open, port=port) for _ in range(sizes.plain)
                ]
            else:
                ids = [await bench.open(port=port) for _ in range(sizes.plain)]
                steps = [partial(bench.approve, request_id, port=port) for request_id in ids]
            rates.append(await rate(steps, _CALLERS))
        ours, plain = rates
        table.put(
            f"{name}, {_CALLERS} callers, a second",
            rate=ours,
            plain=plain,
            times_plain=ours / plain,
        )


async def _redis_agents(bench: Bench, samples: int) -> list[float]:
    """Agents that skip the API: each writes its question into Redis and listens there."""
    delays = []
    async with Redis(port=bench.redis_port) as redis, AsyncExitStack() as channels:
        asked = [await _ask_in_redis(bench, redis, channels) for _ in range(samples)]
        # An approval of a question that is younger waits until Redis has been scanned again.
        await asyncio.sleep(_OLD_SECONDS)
        for request_id, channel in asked:
            delays.append(await _delay(bench, request_id, _signal(channel)))
    return delays


async def _ask_in_redis(bench: Bench, redis: Redis, channels: AsyncExitStack) -> tuple[str, PubSub]:
    session_id, request_id = (f"bench-{uuid.uuid4().hex}" for _ in range(2))
    names: dict[str, object] = {"requestId": request_id, "sessionId": session_id}
    names |= {"userId": "user123", "tenantId": TENANT}
    question = {**names, "actionType": "pay", "context": {}, "status": "pending"}
    question["createdAt"] = int(time.time())
    channel = await channels.enter_async_context(redis.pubsub())
    await channel.subscribe(f"hitl:channel:{session_id}")
    await redis.set(f"hitl:request:{request_id}", json.dumps(question), ex=1800)
    await redis.set(f"hitl:session:{session_id}", json.dumps(names), ex=3600)
    path = f"/aura/hitl/requests/{request_id}"
    for _ in range(100):
        if (await wire.exchange(bench.port, "GET", path, bench.approver)).status == 200:
            return request_id, channel
        await asyncio.sleep(0.1)
    raise RuntimeError("a question in Redis was not adopted")


async def _signal(channel: PubSub) -> None:
    async for message in channel.listen():
        if message["type"] == "message":
            return


async def _wait(bench: Bench) -> float:
    request_id = await bench.open()
    path = f"/aura/hitl/requests/{request_id}/wait?timeout=60"
    return await _delay(bench, request_id, bench.call("GET", path, bench.asker))


async def _delay(bench: Bench, request_id: str, hearing: Coroutine[Any, Any, object]) -> float:
    """Return the milliseconds from sending the decision until `hearing` has ended."""
    arrived: list[float] = []

    async def hear() -> None:
        await hearing
        arrived.append(time.perf_counter())

    task = asyncio.create_task(hear())
    await asyncio.sleep(0.15)
    began_at = time.perf_counter()
    await bench.approve(request_id)
    async with asyncio.timeout(30):
        await task
    return (arrived[0] - began_at) * 1000


async def _next_event(bench: Bench) -> float:
    """A session's own stream: from the decision to the event that follows it."""
    stream, question = await _asking(bench)
    frames = stream.frames(30.0)

    async def next_event() -> None:
        async for frame in frames:
            if frame.id is not None:
                return

    try:
        return await _delay(bench, str(question["requestId"]), next_event())
    finally:
        stream.close()


async def _asking(bench: Bench) -> tuple[wire.EventStream, dict[str, object]]:
    """Begin a session; return its stream, and its question once that is asked."""
    path = "/aura/test/stream"
    stream = await wire.EventStream.open(bench.port, path, bench.asker, _PROMPT, 30.0)
    async for frame in stream.frames(30.0):
        if frame.event == "hitl":
            return stream, json.loads(frame.data)
    raise RuntimeError("the session asked nothing")


async def _streams(bench: Bench, sizes: Sizes, table: Table) -> None:
    crowds: list[Crowd] = []
    # What is watched waits for as long as the watchers do.
    watched = [str((await _asking(bench))[1]["sessionId"]) for _ in range(10)]
    paths = [f"/aura/sessions/{session_id}/stream" for session_id in watched]
    try:
        for watchers in (0, *sizes.watchers):
            if more := watchers - (table.chart[-1][0] if table.chart else 0):
                new = [paths[number % len(paths)] for number in range(more)]
                crowds.append(await Crowd.open(bench.port, bench.asker, paths=new))
                await asyncio.sleep(2)
            values = [await _next_event(bench) for _ in range(sizes.samples)]
            among = f"among {watchers} idle watchers" if watchers else "nobody else there"
            table.delays(f"{_STREAM}, {among}", values)
            table.chart.append((watchers, percentile(values, 50), percentile(values, 99)))
        core, transactions = await bench.idle(sizes.idle_seconds)
        table.put(f"{watchers} idle watchers", core=core, transactions=transactions)
    finally:
        for crowd in crowds:
            await crowd.close()


async def _agents(bench: Bench, sizes: Sizes, table: Table) -> None:
    await asyncio.sleep(2)
    name = f"{sizes.agents} agents that wait"
    crowd = await Crowd.open(bench.port, bench.asker, agents=sizes.agents)
    try:
        core, transactions = await bench.idle(sizes.idle_seconds)
        table.put(name, core=core, transactions=transactions)
    finally:
        await crowd.close()
    await asyncio.sleep(2)
    core, transactions = await bench.idle(sizes.idle_seconds)
    table.put(f"{name}, their clients gone", core=core, transactions=transactions)
    crowd = await Crowd.open(bench.port, bench.asker, agents=sizes.more_agents - sizes.agents)
    try:
        values = [await _next_event(bench) for _ in range(sizes.samples)]
    finally:
        await crowd.close()
    among = f"among {sizes.more_agents} waiting agents"
    table.delays(f"{_STREAM}, {among}", values)


PARTS = {"calls": _calls, "outside": _agents_outside, "streams": _streams, "agents": _agents}
