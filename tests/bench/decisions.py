"""What a decision costs, with Redis and without, and how fast a backlog of signals goes out."""

from __future__ import annotations

import asyncio
import time
import uuid

from redis.asyncio import Redis

from tests.bench.measure import Bench, Timer, show

_TIMES = 100
_BACKLOG = 300
_SECONDS = 30.0


async def with_and_without_redis(bench: Bench) -> None:
    """Open, read and approve, one after the other."""
    rows: list[tuple[str, list[float]]] = []
    for name in ("with Redis", "without Redis"):
        if name == "without Redis":
            await bench.cut_redis(True)
            # The first call finds out; those that follow are what people feel.
            await bench.open()
        timers = [Timer() for _ in range(3)]
        for _ in range(_TIMES):
            with timers[0]:
                request_id = await bench.open()
            with timers[1]:
                await bench.call("GET", f"/aura/hitl/requests/{request_id}", bench.asker)
            with timers[2]:
                await bench.approve(request_id)
        verbs = ("open", "read", "approve")
        rows += [(f"{v} {name}", t.values) for v, t in zip(verbs, timers, strict=True)]
    await bench.cut_redis(False)
    for number, verb in enumerate(("open", "read", "approve")):
        show(f"{verb}, one after the other", [rows[number], rows[number + 3]])


async def backlog(bench: Bench) -> None:
    """Decide without Redis, mend the links, and time the signals that come out."""
    mark = uuid.uuid4().hex[:8]
    await bench.cut_redis(True)
    for number in range(_BACKLOG):
        await bench.approve(await bench.open(f"backlog-{mark}-{number}"))
    began = time.monotonic()
    await bench.cut_redis(False)
    first = last = 0.0
    sent = 0
    async with Redis(port=bench.cluster.redis_port) as redis:
        while sent < _BACKLOG and time.monotonic() - began < _SECONDS:
            pattern = f"hitl:signal:backlog-{mark}-*"
            count = len([key async for key in redis.scan_iter(pattern, count=10_000)])
            if count > sent:
                last = time.monotonic() - began
                first, sent = first or last, count
            await asyncio.sleep(0.01)
    print(f"\nrelay of a backlog, two processes\n  {sent} of {_BACKLOG} signals")
    print(f"  first {first:.2f} s after Redis was back, last {last:.2f} s")
    if last > first:
        print(f"  {sent / (last - first):.0f} signals a second in between")
