"""What a serving process does besides answering. daphne speaks no ASGI lifespan, so `serve`
starts this itself; a bare daphne needs `manage.py clock` and `manage.py relay` beside it."""

from __future__ import annotations

import asyncio

import hitl.clock
from hitl import finder, relay


async def run() -> None:
    """Run until cancelled."""
    async with asyncio.TaskGroup() as group:
        for loop in (clock, relay.run, finder.run):
            group.create_task(loop())


async def clock() -> None:
    """Do what comes due, of every room, until cancelled."""
    await hitl.clock.run()
