"""Does what is due because time has passed: overdue requests expire, chores are done."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import timedelta

from structlog.stdlib import get_logger

from dwp_project.offload import run_background
from hitl import services
from hitl.approvals import idempotency
from hitl.audit import checkpoints
from hitl.background import chores
from hitl.background.chores import Chore

logger = get_logger(__name__)

# An overdue request expires at most this late (delivery.md).
TICK_SECONDS = 1.0
# How often to look whether a chore is due. Chosen: chores come hourly.
_CHORES_SECONDS = 30.0
# Chosen: how often the age of what no checkpoint vouches for is measured, against the hour in
# which it is signed. Between two looks it grows by itself.
_MEASURE_SECONDS = 15 * 60.0
CHORES = (
    Chore("forget-kept-answers", timedelta(hours=1), idempotency.forget_old),
    Chore("checkpoint-audit", checkpoints.INTERVAL, checkpoints.sign_moved_heads),
)


async def run(also: Sequence[Chore] = ()) -> None:
    """Expire what is due, every second, and do chores, until cancelled.

    If the database is away, it goes on when it is back. Any number of processes may run this: each
    request expires in one of them, and one of them takes each turn of a chore.
    """
    chores_at = measured_at = -math.inf
    while True:
        try:
            while await run_background(services.expire_overdue):
                pass
        except Exception as exc:
            logger.warning("clock_waits", error=str(exc).strip())
        if time.monotonic() - chores_at >= _CHORES_SECONDS:
            chores_at = time.monotonic()
            await _do_chores((*CHORES, *also))
        if time.monotonic() - measured_at >= _MEASURE_SECONDS:
            measured_at = time.monotonic()
            await _measure()
        await asyncio.sleep(TICK_SECONDS)


async def _do_chores(due: Sequence[Chore]) -> None:
    try:
        for chore in due:
            await run_background(chores.do, chore)
    except Exception as exc:
        logger.warning("clock_waits", error=str(exc).strip())


async def _measure() -> None:
    try:
        await run_background(checkpoints.measure_unvouched)
    except Exception as exc:
        logger.warning("clock_waits", error=str(exc).strip())
