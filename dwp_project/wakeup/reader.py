"""The one reader of an event loop: it notices what waiters were not woken for.

Once a second, one statement takes the keys of the rows that are awaited and what their waiters know
of them, and returns those that differ, however many wait. There is no time window: a commit that
comes late, from a process that died before its wake-up, is noticed like any other.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connection
from structlog.stdlib import get_logger

from dwp_project.offload import run_urgent
from dwp_project.wakeup.subscription import Subscription

logger = get_logger(__name__)

# How often what is awaited is read: a waiter whose wake-up was lost hears this much late. Chosen:
# a person hardly notices it, and one statement a second costs next to nothing.
READ_SECONDS = 1.0
# How many rows one statement asks for. Chosen: it takes some milliseconds.
_SLICE = 2_000

# A row's primary key, and a number that stands for what its waiter knows of it.
Awaited = tuple[int, int]

# OFFSET 0 has each row looked up by its key: of 2,000 keys or so PostgreSQL would otherwise rather
# read a whole table of 100,000 rows.
_POSTGRESQL = """
SELECT awaited.key, awaited.known
FROM unnest(%s::bigint[], %s::bigint[]) AS awaited (key, known)
LEFT JOIN LATERAL (SELECT * FROM {table} WHERE id = awaited.key OFFSET 0) AS stored ON true
"""
_SQLITE = """
SELECT awaited.key, awaited.known
FROM (
    SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS known
    FROM json_each(%s)
) AS awaited
LEFT JOIN {table} AS stored ON stored.id = awaited.key
"""


@dataclass(frozen=True, slots=True)
class AwaitedTable:
    """A table whose rows are awaited, and the SQL condition by which a row, `stored`,
    differs from what a waiter knows, `awaited.known`. A row that is gone differs too."""

    name: str
    differs: str

    def differing(self, awaited: Sequence[Awaited]) -> Collection[Awaited]:
        """Return those of `awaited` whose rows differ from what is known, by one statement."""
        parameters: Sequence[list[int] | str]
        if connection.vendor == "postgresql":
            source = _POSTGRESQL
            parameters = [list(column) for column in zip(*awaited, strict=True)]
        else:
            source, parameters = _SQLITE, [json.dumps(awaited)]
        source = source.format(table=connection.ops.quote_name(self.name))
        statement = f"{source} WHERE stored.id IS NULL OR {self.differs}"
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return [(key, known) for key, known in cursor.fetchall()]


class Reader:
    """Reads the awaited rows of one table for the waiters of one event loop."""

    def __init__(self, table: AwaitedTable) -> None:
        self._table = table
        self._waiters: dict[Awaited, set[Subscription]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._has_failed = False

    @contextmanager
    def awaiting(self, key: int, known: int, subscription: Subscription) -> Iterator[None]:
        """Wake `subscription` to read, if the row with this key differs from `known` while the
        block runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"reader-{self._table.name}")
        waiters = self._waiters[key, known]
        waiters.add(subscription)
        try:
            yield
        finally:
            waiters.discard(subscription)
            if not waiters and self._waiters.get((key, known)) is waiters:
                del self._waiters[key, known]

    async def read(self) -> None:
        """Read all rows that are awaited now, and wake the waiters of those that differ."""
        awaited = list(self._waiters)
        for start in range(0, len(awaited), _SLICE):
            for one in await run_urgent(self._table.differing, awaited[start : start + _SLICE]):
                # Each is woken once: it reads, and says anew what it knows.
                for subscription in self._waiters.pop(one, ()):
                    subscription.deliver(b"")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            if not self._waiters:
                return  # the next waiter starts it again
            try:
                await self.read()
            except Exception as exc:
                # Whatever it is, the next reading asks for the same and may succeed; without a
                # reader, waiters would rely on wake-ups alone.
                if not self._has_failed:
                    logger.warning("awaited_rows_not_read", error=str(exc).strip())
                self._has_failed = True
            else:
                self._has_failed = False


_readers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[AwaitedTable, Reader]] = (
    weakref.WeakKeyDictionary()
)


def reader(table: AwaitedTable) -> Reader:
    """Return the running event loop's reader of that table; the first call makes it."""
    readers = _readers.setdefault(asyncio.get_running_loop(), {})
    if table not in readers:
        readers[table] = Reader(table)
    return readers[table]
