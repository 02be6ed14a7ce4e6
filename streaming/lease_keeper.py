"""The sessions that run in this process, and the one loop that renews their leases."""

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

# How long the tasks may take to stop, and the whole release. Chosen: a share of the 3 s that the
# server leaves for it when the process ends (dwp_project/server/shutdown.py).
_STOP_SECONDS = 1.5
_RELEASE_SECONDS = 3.0


class RunningSession:
    """A session that runs in this process, under the lease with which it was taken."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Has a result once somebody has cancelled the session.
        self.cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def lose_lease(self) -> None:
        """Stop without final events: another process runs the session now."""
        logger.warning("lease_lost", session_id=self.session.session_id)
        if self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """Tell the runner to end the session."""
        if not self.cancelled.done():
            self.cancelled.set_result(None)


class LeaseKeeper:
    """Keeps the leases of the sessions that run in one event loop; closed, it starts none."""

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
        """Start `work` on the session of `run`, and renew its lease until the work is over."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew_until_cancelled(), name="leases")
        run.task = asyncio.create_task(work, name=name)
        self._runs[run.session.pk] = run
        run.task.add_done_callback(lambda task: self._forget(run, task))
        return run.task

    async def renew(self) -> None:
        """Renew all leases at once; stop sessions that were lost, end those that were cancelled."""
        runs = dict(self._runs)
        if not runs:
            return
        try:
            rows = await run_urgent(leases.renew, list(runs))
        except Exception as exc:
            # No other process can take over meanwhile: that needs the same database.
            logger.warning("leases_not_renewed", error=str(exc).strip())
            return
        for key, run in runs.items():
            if self._runs.get(key) is not run:
                continue  # it has ended meanwhile
            row = rows.get(key)
            if row is None or not leases.is_leased_here(row, run.session.lease_number):
                run.lose_lease()
            elif row.cancel_requested_at is not None:
                run.cancel()

    async def release(self) -> None:
        """Stop every session without final events, release the leases, start no session any more.

        Takes at most three seconds. If the database is away it gives up, and the leases expire
        by themselves.
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
    """Return the lease keeper of the running event loop."""
    return _keepers.setdefault(asyncio.get_running_loop(), LeaseKeeper())
