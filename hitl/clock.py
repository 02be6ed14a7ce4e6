"""What happens because time has passed: overdue requests expire."""

from __future__ import annotations

import asyncio
import math
import time

from structlog.stdlib import get_logger

from dwp_project.offload import run_sync
from hitl import idempotency, services

logger = get_logger(__name__)

TICK_SECONDS = 1.0
# Old answers are removed this often: nobody waits for it.
_TIDY_SECONDS = 600.0


async def run() -> None:
    """Expire what is due, every second, until cancelled; outlives a database that is away.

    Runs in every serving process, and alone as `manage.py clock`.
    """
    tidied_at = -math.inf
    while True:
        try:
            await run_sync(services.expire_overdue)
            if time.monotonic() - tidied_at >= _TIDY_SECONDS:
                await run_sync(idempotency.forget_old)
                tidied_at = time.monotonic()
        except Exception as exc:
            logger.warning("expiry_postponed", error=str(exc).strip())
        await asyncio.sleep(TICK_SECONDS)
