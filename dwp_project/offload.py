"""The one way from async code to the database.

Small pools of threads run the calls, and a thread returns its database connection after each
call; `database_sync_to_async` has one thread for the whole process (docs/adr/0005). A call whose
caller is gone before a thread was free is dropped.
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
# For calls that must not wait behind all others: one thread, because they are short.
_urgent_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orm-urgent")

# For Django's views. More threads than this only take the one interpreter from each other: with
# hundreds, every call took longer than its client waited ("Threads, and a line before them" there).
REQUEST_THREADS = 16
request_pool = ThreadPoolExecutor(max_workers=REQUEST_THREADS, thread_name_prefix="request")
# Hashing a password takes a processor for half a second. Logins have two threads
# of their own, so that nobody else waits for them.
login_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="login")
# Probes must be answered while everything else waits. Two pools, because the probes of one ask no
# other system, and `/ready` may wait a second or two for a database that is away.
probe_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
readiness_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readiness")
# What `/ready` asks: a thread each for the database, Redis and the clocks, for one check at a time.
_check_pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="check")

# For the process's own loops, a thread each: relay, scanner, clock, and what reads the clocks.
_background_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="orm-background")
# For what is written a moment after an answer. It may wait for a lock in the database, and no loop
# waits behind it.
_afterwards_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orm-afterwards")

_all = (
    *(_pool, _urgent_pool, request_pool, login_pool, probe_pool, readiness_pool),
    *(_check_pool, _background_pool, _afterwards_pool),
)


async def run_sync(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` (ORM, Redis or other blocking code) in the pool and await its result.

    A cancelled caller stops waiting, but the call runs to its end, so that no transaction is cut in
    half.
    """
    return await _run_in(_pool, partial(function, *args, **kwargs))


async def run_urgent(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on a thread for calls that are rare, short and urgent."""
    return await _run_in(_urgent_pool, partial(function, *args, **kwargs))


async def run_background(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `run_sync` does, on the threads of the process's own loops."""
    return await _run_in(_background_pool, partial(function, *args, **kwargs))


def start_background(function: Callable[[], T]) -> Future[T]:
    """Begin to run `function` on the threads of the process's own loops, and return at once."""
    return _submit(_background_pool, function)


def start_afterwards(function: Callable[[], T]) -> Future[T]:
    """Begin to run `function` on the one thread for what is written after answers, and return at
    once."""
    return _submit(_afterwards_pool, function)


def start_check(function: Callable[[], T]) -> Future[T]:
    """Begin to run `function` on the threads of `/ready`'s checks, and return at once."""
    return _submit(_check_pool, function)


class NoThreadFree(Exception):
    """No thread was free in time; nothing was done."""


async def run_request(
    function: Callable[[], T], *, seconds: float, pool: ThreadPoolExecutor = request_pool
) -> T:
    """Do what `run_sync` does, on the threads of `pool`, by default those of Django's views.

    Raises `NoThreadFree` if no thread was free for `seconds`. If the caller is cancelled before a
    thread was free, the call is dropped.
    """
    call = _submit(pool, function)
    answer = asyncio.wrap_future(call)
    try:
        await asyncio.wait([answer], timeout=seconds)
    except asyncio.CancelledError:
        call.cancel()
        answer.cancel()  # a call that has begun runs on; its result is not used
        raise
    # A call that has begun is awaited, however long it takes; only one that still waits is refused.
    if call.cancel():
        raise NoThreadFree
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
    # A pool keeps a cancelled call until a thread takes it from the queue. Emptied here, so that
    # it does not keep what a client sent in memory.
    future.add_done_callback(lambda _: work.clear())
    return future


def close(seconds: float) -> bool:
    """Drop the calls that wait for a thread and wait up to `seconds` for those that run.

    Returns whether all have ended. Without this the interpreter would run every waiting call
    before it exits, and wait for ever for one whose database is frozen.
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
