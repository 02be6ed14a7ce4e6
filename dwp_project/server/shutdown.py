"""The shutdown of a serving process.

In order: listeners close; `on_drain` releases the sessions; open answers are asked to end;
requests in flight finish; the rest is cancelled and cut. Every step is bounded: the whole takes at
most eight seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from twisted.internet.protocol import connectionDone

from dwp_project.server.ports import BACKLOG

logger = structlog.get_logger(__name__)

# Shares of the 8 s that the whole takes, out of the 10 s in which a process ends
# (docs/explanation/delivery.md). Chosen so that they fit.
# For sessions to be stopped and their leases released.
_ON_DRAIN_SECONDS = 3.0
# For requests in flight, counted from the signal; and the least for answers that are asked to end.
_FINISH_SECONDS = 5.0
_DRAIN_SECONDS = 1.5
# For applications that are cancelled.
_CANCEL_SECONDS = 2.0
# For bytes that have arrived to be read.
_READ_SECONDS = 0.1
# Between two looks at whether all have ended: unnoticed by people, cheap for a process.
_POLL_SECONDS = 0.05

DrainCallback = Callable[[], Awaitable[None]]


class DrainCallbacks:
    """The callbacks of open answers that end early when the process ends."""

    def __init__(self) -> None:
        self._open: dict[Any, DrainCallback] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._is_ending = False

    def add(self, protocol: Any, drain: DrainCallback) -> None:
        """Call `drain` when the process ends, or now if it does already."""
        self._open[protocol] = drain
        if self._is_ending:
            self._begin(drain)

    def forget(self, protocol: Any) -> None:
        """Remove the callback of `protocol`."""
        self._open.pop(protocol, None)

    def begin(self) -> None:
        """Call all callbacks, and from now on every new one at once."""
        self._is_ending = True
        for drain in list(self._open.values()):
            self._begin(drain)

    def _begin(self, drain: DrainCallback) -> None:
        task = asyncio.ensure_future(_run_logged("answer_not_drained", drain))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def drain_connections(
    factory: Any, listeners: Iterable[Any], drains: DrainCallbacks, on_drain: DrainCallback | None
) -> None:
    """Close the listeners, end open answers and return when no connection is open, or in time."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    for listener in listeners:
        # Accept those in the backlog first: they have connected and may have sent a request. Then
        # close at once: `stopListening` would do so later, and who connects meanwhile is reset.
        listener.stopReading()
        listener.numberAccepts = BACKLOG
        listener.doRead()
        listener.connectionLost(connectionDone)
    # Read what has arrived by now, so that its connection does not count as idle.
    await asyncio.sleep(_READ_SECONDS)
    factory.is_ending = True
    factory.sweep()
    if on_drain is not None:
        await _run_logged("on_drain_failed", on_drain, _ON_DRAIN_SECONDS)
    drains.begin()
    deadline = max(began_at + _FINISH_SECONDS, loop.time() + _DRAIN_SECONDS)
    while factory.connections and loop.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        factory.sweep()


async def cancel_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel `tasks` and wait, for a limited time, until they have cleaned up."""
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        _, stuck = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        for task in stuck:
            logger.warning("task_did_not_end", task=repr(task))


async def _run_logged(failure: str, step: DrainCallback, seconds: float | None = None) -> None:
    """Await `step`, at most for `seconds`; log an exception as the event `failure`."""
    try:
        async with asyncio.timeout(seconds):
            await step()
    except Exception as exc:
        logger.error(failure, exc_info=exc)
