"""What a serving process does besides answering. daphne speaks no ASGI lifespan, so `serve`
starts this itself; a bare daphne needs `manage.py clock`, `relay` and
`sessions` beside it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import hitl.background.clock
from hitl.adoption import scanner
from hitl.background.chores import Chore
from hitl.delivery import relay
from streaming import recovery, retention, runner

_CHORES = (Chore("remove-old-events", timedelta(hours=1), retention.remove_old),)


async def run() -> None:
    """Run until cancelled."""
    async with asyncio.TaskGroup() as group:
        for loop in (clock, relay.run, scanner.run, recovery.run):
            group.create_task(loop())


async def clock() -> None:
    """Do what comes due, of every room, until cancelled."""
    await hitl.background.clock.run(also=_CHORES)


async def sessions() -> None:
    """Carry on sessions whose process is gone, until cancelled; then give them away."""
    try:
        await recovery.run()
    finally:
        await drain()


async def drain() -> None:
    """Give away what only this process does: its sessions go on in others.

    `serve` awaits it when it is told to end, before it cuts the streams; three seconds at most.
    """
    await runner.release_all()
