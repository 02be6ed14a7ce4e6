"""What a serving process does besides answering. daphne speaks no ASGI lifespan, so `serve`
starts this itself; a bare daphne needs `manage.py clock` beside it."""

from __future__ import annotations

from hitl import clock


async def run() -> None:
    """Run until cancelled."""
    await clock.run()
