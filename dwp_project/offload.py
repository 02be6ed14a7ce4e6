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
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

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


class CallerLeft(Exception):
    """Who called has left before the call ended; a call that has begun runs on."""


async def run_request(
    function: Callable[[], T],
    *,
    seconds: float,
    pool: ThreadPoolExecutor = request_pool,
    leaving: asyncio.Future[Any] | None = None,
) -> T:
    """Do what `run_sync` does, on the threads of `pool`, by default those of Django's views.

    Raises `NoThreadFree` if no thread was free for `seconds`, and `CallerLeft` if `leaving` is done
    before the call is. If that or a cancellation comes before a thread was free, the call is
    dropped.
    """
    # A future of the loop's own, and no `asyncio.wait` around it: each would cost about as much as
    # the change of threads itself.
    call, loop = _submit(pool, function), asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    def wake_from_thread(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(wake)

    call.add_done_callback(wake_from_thread)
    timer = loop.call_later(seconds, wake)
    if leaving is not None:
        leaving.add_done_callback(wake)
    try:
        await woken
        # A call that has begun is awaited, however long it takes; only one that waits is refused.
        if not call.done() and not _has_left(leaving):
            if call.cancel():
                raise NoThreadFree
            woken = loop.create_future()
            await woken
    except asyncio.CancelledError:
        call.cancel()
        raise
    finally:
        timer.cancel()
    if not call.done():
        call.cancel()
        raise CallerLeft
    return call.result()


def _has_left(leaving: asyncio.Future[Any] | None) -> bool:
    return leaving is not None and leaving.done()


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
