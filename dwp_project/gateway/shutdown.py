"""Ends processes: when a signal arrives, and even if a thread hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from dwp_project import offload

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How long calls that are under way may take when everything else has ended: a frozen database
# never answers. With the next figure, a part of the 10 s in which a process ends
# (docs/explanation/delivery.md); the server has most of the rest (dwp_project/server/shutdown.py).
CALLS_SECONDS = 1.5
# For the interpreter to end by itself.
_INTERPRETER_SECONDS = 1.0


def run_until_signal(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an endless `loop` until SIGINT, SIGTERM or SIGHUP.

    SIGINT is handled even if it was ignored, as shells do for background processes.
    """
    asyncio.run(_until_signal(loop()))
    offload.close(CALLS_SECONDS)


async def _until_signal(working: Coroutine[Any, Any, None]) -> None:
    work = asyncio.create_task(working)
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):
        await work


def force_exit_soon() -> None:
    """Exit with status 0 in a second if the interpreter has not ended by then.

    Call it when everything is cleaned up: a thread that waits for a frozen database would keep the
    interpreter alive for ever.
    """
    sys.stdout.flush()
    timer = threading.Timer(_INTERPRETER_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
