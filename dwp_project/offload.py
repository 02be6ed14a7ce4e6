"""The one way from async code to the database.

Small pools of threads do the work, and every thread hands its connection back when the call is
over; `database_sync_to_async` has one thread for the whole process (docs/adr/0005). A call whose
caller is gone before a thread was free is never made.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

# Chosen: calls that wait for the database overlap, and all pools below share the 20 connections
# that a process has by default (docs/explanation/architecture.md).
_THREADS = 8
_pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="orm")
# For what must not wait behind everybody else's calls: one thread, because they are short.
_urgent_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orm-urgent")

# For Django's views. More threads than this only take the one interpreter from each other: with
# hundreds, every call took longer than its client waited ("Threads, and a line before them" there).
REQUEST_THREADS = 16
request_pool = ThreadPoolExecutor(max_workers=REQUEST_THREADS, thread_name_prefix="request")
# Hashing a password takes a processor for half a second: however many want to log in, two at a
# time, and nobody else waits for them.
login_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="login")
# What must be answered when everything else waits: for what asks nobody, and for what waits
# seconds for a database that is away.
probe_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
readiness_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readiness")

# For the loops that nobody waits for and everybody needs, a thread each: relay, finder, clock.
_background_pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="orm-background")

_all = (_pool, _urgent_pool, request_pool, login_pool, probe_pool, readiness_pool, _background_pool)


async def run_sync(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` (ORM, Redis or other blocking code) in the pool and await its result.

    A cancelled caller stops waiting; the call itself runs to its end, so a transaction is
    never cut in half.
    """
    return await _run_in(_pool, partial(function, *args, **kwargs))


async def run_urgent(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on a thread kept for calls that are rare, short and urgent."""
    return await _run_in(_urgent_pool, partial(function, *args, **kwargs))


async def run_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on threads kept for the process's own loops."""
    return await _run_in(_background_pool, partial(function, *args, **kwargs))


class Overloaded(Exception):
    """No thread was free in time; nothing was done."""


async def run_request(
    function: Callable[[], T], *, seconds: float, pool: ThreadPoolExecutor = request_pool
) -> T:
    """Do what `run_sync` does, on the threads of Django's views or others of `pool`; raise
    `Overloaded` when none was free for so many seconds."""
    call = _submit(pool, function)
    answer = asyncio.wrap_future(call)
    try:
        await asyncio.wait([answer], timeout=seconds)
    except asyncio.CancelledError:
        call.cancel()
        answer.cancel()  # if it has begun, nobody asks what came of it
        raise
    # What has begun is waited for, however long it takes: only what still waits is refused.
    if call.cancel():
        raise Overloaded
    return await answer


async def _run_in(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    return await asyncio.wrap_future(_submit(pool, function))


def _submit(pool: ThreadPoolExecutor, function: Callable[[], T]) -> Future[T]:
    context = contextvars.copy_context()
    work = [function]

    def call() -> T:
        close_old_connections()
        try:
            return context.run(work[0])
        finally:
            close_old_connections()

    future = pool.submit(call)
    # A pool keeps what was cancelled until a thread comes to it: the shell only, not what a
    # client sent.
    future.add_done_callback(lambda _: work.clear())
    return future


def close(seconds: float) -> bool:
    """Drop the calls that wait for a thread, and wait for those that run, at most so long; say
    whether all have ended.

    The interpreter would make all of them before it ends, however many they are, and waits for
    those that run for ever: a database that is frozen never answers.
    """
    ended = threading.Event()

    def shut_down() -> None:
        for pool in _all:
            pool.shutdown(wait=True, cancel_futures=True)
        ended.set()

    for pool in _all:
        pool.shutdown(wait=False, cancel_futures=True)
    threading.Thread(target=shut_down, name="orm-close", daemon=True).start()
    return ended.wait(seconds)
