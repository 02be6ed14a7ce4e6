"""How long a wait over REST takes to hear of its decision, alone and among hundreds."""

from __future__ import annotations

import asyncio
import time

from tests.bench.measure import Bench, show

_WAITERS = 500
_SAMPLES = 40


async def decision_among_waiters(bench: Bench) -> None:
    """From sending `approve` to one server to the answer of `wait` on the other."""
    rows = [("one waiter", await _delays(bench, 1, _SAMPLES))]
    rows.append((f"one of {_WAITERS} waiters", await _delays(bench, _WAITERS, _SAMPLES)))
    show("a wait, from sending the decision to its answer", rows)


async def _delays(bench: Bench, waiters: int, samples: int) -> list[float]:
    """Keep `waiters` waits open, each on its own request, and decide `samples` of them."""
    ended: dict[str, float] = {}

    async def wait(request_id: str) -> None:
        path = f"/aura/hitl/requests/{request_id}/wait?timeout=60"
        await bench.call("GET", path, bench.asker, server=1)
        ended[request_id] = time.perf_counter()

    delays: list[float] = []
    waiting: dict[str, asyncio.Task[None]] = {}
    for _ in range(waiters if waiters > 1 else 0):
        request_id = await bench.open()
        waiting[request_id] = asyncio.create_task(wait(request_id))
    for _ in range(samples):
        if not waiting:
            request_id = await bench.open()
            waiting[request_id] = asyncio.create_task(wait(request_id))
        await asyncio.sleep(0.1)
        request_id, task = waiting.popitem()
        sent = time.perf_counter()
        await bench.approve(request_id)
        await task
        delays.append((ended[request_id] - sent) * 1000)
    for task in waiting.values():
        task.cancel()
    await asyncio.gather(*waiting.values(), return_exceptions=True)
    return delays
