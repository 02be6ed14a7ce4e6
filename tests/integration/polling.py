"""Looking again until something is so."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from dwp_project.offload import run_sync

_PAUSE_SECONDS = 0.02


async def until(is_so: Callable[[], bool], *, within: float) -> None:
    """Return as soon as `is_so`, which may ask the database; fail after `within` seconds."""
    for _ in range(int(within / _PAUSE_SECONDS)):
        if await run_sync(is_so):
            return
        await anyio.sleep(_PAUSE_SECONDS)
    raise AssertionError(f"not so within {within} s")
