"""The one way from async code to the database.

`database_sync_to_async` shares a single thread per process: twenty calls of 50 ms take a
second. Here a small pool of threads does the work, and every thread hands its connection
back when the call is over.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 8
_pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="orm")
# For what must not stand in line behind everybody else's calls.
_express = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orm-express")

# For the loops that nobody waits for and everybody needs: relay, finder, clock.
_background = ThreadPoolExecutor(max_workers=3, thread_name_prefix="orm-background")


async def run_sync(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` (ORM, Redis or other blocking code) in the pool and await its result.

    A cancelled caller stops waiting; the call itself runs to its end, so a transaction is
    never cut in half.
    """
    return await _run_in(_pool, partial(function, *args, **kwargs))


async def run_express(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on a thread kept for calls that are rare, short and urgent."""
    return await _run_in(_express, partial(function, *args, **kwargs))


async def run_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on threads kept for the process's own loops."""
    return await _run_in(_background, partial(function, *args, **kwargs))


async def _run_in(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    context = contextvars.copy_context()

    def call() -> T:
        close_old_connections()
        try:
            return context.run(function)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(pool, call)


def close(seconds: float) -> bool:
    """Drop the calls that wait for a thread, and wait for those that run, at most so long; say
    whether all have ended.

    The interpreter would make all of them before it ends, however many they are, and waits for
    those that run for ever: a database that is frozen never answers.
    """
    ended = threading.Event()

    def shut_down() -> None:
        for pool in (_pool, _express, _background):
            pool.shutdown(wait=True, cancel_futures=True)
        ended.set()

    for pool in (_pool, _express, _background):
        pool.shutdown(wait=False, cancel_futures=True)
    threading.Thread(target=shut_down, name="orm-close", daemon=True).start()
    return ended.wait(seconds)
