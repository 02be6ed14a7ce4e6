"""The sessions that run in this process, and the one loop that keeps their leases."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine
from typing import Any

from structlog.stdlib import get_logger

from dwp_project.offload import run_urgent
from dwp_project.wakeup import hub
from streaming import leases
from streaming.models import Session

logger = get_logger(__name__)

# How long the tasks may take to stop, and the whole release, before the process ends anyway.
_STOP_SECONDS = 1.5
_RELEASE_SECONDS = 3.0


class RunningSession:
    """One session as it runs here, under the lease it was taken with."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Done once somebody has asked for the session's end.
        self.cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def lose_lease(self) -> None:
        """Stop without closing events: the session goes on elsewhere."""
        logger.warning("lease_lost", session_id=self.session.session_id)
        if self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """Let the session come to its end."""
        if not self.cancelled.done():
            self.cancelled.set_result(None)


class LeaseKeeper:
    """What runs in one event loop. Closed, it takes nothing more."""

    def __init__(self) -> None:
        self.is_closed = False
        self._runs: dict[int, RunningSession] = {}
        self._renewal: asyncio.Task[None] | None = None

    @property
    def keys(self) -> list[int]:
        """The primary keys of the sessions that run here."""
        return list(self._runs)

    def add(
        self, run: RunningSession, work: Coroutine[Any, Any, None], name: str
    ) -> asyncio.Task[None]:
        """Start `work` on the run's session, and keep its lease until that is over."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_until_cancelled(), name="leases")
        run.task = asyncio.create_task(work, name=name)
        self._runs[run.session.pk] = run
        run.task.add_done_callback(lambda task: self._forget(run, task))
        return run.task

    async def renew(self) -> None:
        """Renew every lease at once; stop what was lost, end what somebody cancelled."""
        asked = dict(self._runs)
        if not asked:
            return
        try:
            found = await run_urgent(leases.renew, list(asked))
        except Exception as exc:
            # Nobody else can take over meanwhile: that needs the same database.
            logger.warning("leases_not_renewed", error=str(exc).strip())
            return
        for key, run in asked.items():
            if self._runs.get(key) is not run:
                continue  # it has ended since
            row = found.get(key)
            if row is None or not leases.is_leased_here(row, run.session.lease_number):
                run.lose_lease()
            elif row.cancel_requested_at is not None:
                run.cancel()

    async def release(self) -> None:
        """Stop everything without closing events and give the leases back; take nothing more.

        Takes at most three seconds. With the database away it gives up: the leases then run
        out by themselves.
        """
        self.is_closed = True
        runs = dict(self._runs)
        if self._renewal is not None:
            self._renewal.cancel()
        tasks = [run.task for run in runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                if tasks:
                    await asyncio.wait(tasks, timeout=_STOP_SECONDS)
                    await run_urgent(leases.release, list(runs))
        except Exception as exc:
            logger.warning("leases_not_released", error=str(exc).strip() or type(exc).__name__)

    async def _renew_until_cancelled(self) -> None:
        async with hub().subscribe(leases.owner_topic(leases.owner())) as subscription:
            while True:
                await self.renew()
                await subscription.next(leases.RENEW_SECONDS)

    def _forget(self, run: RunningSession, task: asyncio.Task[None]) -> None:
        if self._runs.get(run.session.pk) is run:
            del self._runs[run.session.pk]
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("session_broken", task=task.get_name(), exc_info=exc)


_keepers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LeaseKeeper] = (
    weakref.WeakKeyDictionary()
)


def lease_keeper() -> LeaseKeeper:
    """Return what the running event loop holds."""
    return _keepers.setdefault(asyncio.get_running_loop(), LeaseKeeper())
