"""Finds sessions whose process is gone and resumes them in this process."""

from __future__ import annotations

from structlog.stdlib import get_logger

from dwp_project.offload import run_urgent
from dwp_project.wakeup import hub
from streaming import leases, runner
from streaming.models import Session

logger = get_logger(__name__)

# How often to look for expired leases. With their 10 s and the start of the agent, a session
# goes on within the 15 s of docs/adr/0021.
SCAN_SECONDS = 2.0
# How many sessions one process takes at a time. Chosen: several processes share the sessions of a
# dead one, and each batch is a short load for the database.
_BATCH = 50


async def run() -> None:
    """Take over sessions until cancelled or drained; a database that is away only delays it.

    Runs in every serving process. A process that is alone takes over its own sessions after a
    restart.
    """
    async with hub().subscribe(leases.RELEASED_TOPIC) as subscription:
        while not runner.is_drained():
            is_batch_full = False
            try:
                is_batch_full = len(await scan()) == _BATCH
            except Exception as exc:
                logger.warning("recovery_postponed", error=str(exc).strip())
            await subscription.next(0 if is_batch_full else SCAN_SECONDS)


async def scan() -> list[Session]:
    """Take over and start a batch of sessions whose lease has expired; return them."""
    if runner.is_drained():
        return []
    taken = await run_urgent(leases.take_over_expired, limit=_BATCH, exclude=runner.running_here())
    for session in taken:
        logger.info("session_taken_over", session_id=session.session_id, lease=session.lease_number)
        runner.start(session)
    return taken
