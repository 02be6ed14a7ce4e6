"""The loops that a serving process runs beside its answers.

`serve` starts them itself, because daphne has no ASGI lifespan; a bare daphne needs
`manage.py clock`, `relay` and `sessions` beside it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import hitl.background.clock
from dwp_project.gateway import lockout
from dwp_project.offload import run_background
from hitl.adoption import scanner
from hitl.approvals import foreign
from hitl.background import comparison, skew
from hitl.background.chores import Chore
from hitl.delivery import relay
from streaming import recovery, retention, runner

# Hourly, as retention counts in days, and few sign-ins fail.
_CHORES = (
    Chore("remove-old-events", timedelta(hours=1), retention.remove_old),
    Chore("remove-failed-sign-ins", timedelta(hours=1), lockout.remove_expired),
)


async def run() -> None:
    """Run all loops until cancelled; then write what else would be lost with the process."""
    try:
        async with asyncio.TaskGroup() as group:
            for loop in (clock, relay.run, scanner.run, recovery.run):
                group.create_task(loop())
    finally:
        if foreign.waiting:
            await run_background(foreign.write_waiting)


async def clock() -> None:
    """Run the chores of hitl and streaming when they are due, the daily comparison of the tables
    with the audit, and the readings of the clocks, until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(hitl.background.clock.run(also=_CHORES))
        group.create_task(comparison.run())
        group.create_task(skew.run())


async def sessions() -> None:
    """Resume sessions whose process is gone, until cancelled; then release them."""
    try:
        await recovery.run()
    finally:
        await drain()


async def drain() -> None:
    """Release the sessions of this process, so that others resume them.

    `serve` awaits this when it ends, before it cuts the streams. Takes at most three seconds.
    """
    await runner.release_all()
