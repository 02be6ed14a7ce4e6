"""What happens because time has passed: overdue requests expire."""

from __future__ import annotations

import asyncio

from structlog.stdlib import get_logger

from dwp_project.offload import run_sync
from hitl import services

logger = get_logger(__name__)

TICK_SECONDS = 1.0


async def run() -> None:
    """Expire what is due, every second, until cancelled; outlives a database that is away.

    Runs in every serving process, and alone as `manage.py clock`.
    """
    while True:
        try:
            await run_sync(services.expire_overdue)
        except Exception as exc:
            logger.warning("expiry_postponed", error=str(exc).strip())
        await asyncio.sleep(TICK_SECONDS)
