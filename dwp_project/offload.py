"""The one way from async code to the database.

`database_sync_to_async` shares a single thread per process: twenty calls of 50 ms take a
second. Here a small pool of threads does the work, and every thread hands its connection
back when the call is over.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 8
_pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="orm")


async def run_sync(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` (ORM, Redis or other blocking code) in the pool and await its result.

    A cancelled caller stops waiting; the call itself runs to its end, so a transaction is
    never cut in half.
    """
    context = contextvars.copy_context()

    def call() -> T:
        close_old_connections()
        try:
            return context.run(function, *args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_pool, call)
