"""Finds sessions whose process is gone, and runs them here."""

from __future__ import annotations

from structlog.stdlib import get_logger

from dwp_project.offload import run_urgent
from dwp_project.wakeup import hub
from streaming import leases, runner
from streaming.models import Session

logger = get_logger(__name__)

# A dead process is missed after the leases' TTL, and its sessions are found this much later.
SCAN_SECONDS = 2.0
# What one process takes at a time: the others get their share, and the database its rest.
_BATCH = 50


async def run() -> None:
    """Take sessions over until cancelled or drained; outlives a database that is away.

    Runs in every serving process. A process that is alone finds its own when it restarts.
    """
    async with hub().subscribe(leases.RELEASED_TOPIC) as subscription:
        while not runner.is_drained():
            is_more = False
            try:
                is_more = len(await scan()) == _BATCH
            except Exception as exc:
                logger.warning("recovery_postponed", error=str(exc).strip())
            await subscription.next(0 if is_more else SCAN_SECONDS)


async def scan() -> list[Session]:
    """Take over and start up to 50 sessions that no process holds; return them."""
    if runner.is_drained():
        return []
    taken = await run_urgent(leases.take_over_expired, limit=_BATCH, exclude=runner.running_here())
    for session in taken:
        logger.info("session_taken_over", session_id=session.session_id, lease=session.lease_number)
        runner.start(session)
    return taken
