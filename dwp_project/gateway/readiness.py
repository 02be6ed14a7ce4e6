"""What work needs of the database and of whoever carries signals, checked for `/ready`
(docs/reference/wire.md, 2.1).

The database decides: without it a process is not ready. While signals are late it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from django.db import Error, connection, transaction

from dwp_project import offload
from dwp_project.gateway.models import Membership

# A check that takes longer has failed. Chosen: less than the 2 s that probes wait, and more than a
# commit takes on a busy disk.
SECONDS = 1.5
# How long an answer is kept: a check writes to SQLite, and several probes may ask.
KEPT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What a part does not do: a name of a word or two, and a sentence for people."""

    name: str
    reason: str


class SharedCheck:
    """A check that is made once for all who ask at the same time, and again after a second.

    `look` returns a fault or None. If it has not returned in time, the fault is `silence`, or None;
    it is not called again before it has.
    """

    def __init__(self, look: Callable[[], Fault | None], silence: Fault | None) -> None:
        self._look, self._silence = look, silence
        self._lock = threading.Lock()
        self._running: Future[Fault | None] | None = None
        self._began_at = 0.0

    def start(self) -> None:
        """Begin a check, unless one runs or its answer is still good."""
        with self._lock:
            now = time.monotonic()
            if self._running is not None and (
                not self._running.done() or now - self._began_at < KEPT_SECONDS
            ):
                return
            self._running, self._began_at = offload.start_check(self._look), now

    def fault(self) -> Fault | None:
        """Return what the check that `start` began came to, at most `SECONDS` after it began."""
        assert self._running is not None
        try:
            return self._running.result(max(0.0, self._began_at + SECONDS - time.monotonic()))
        except TimeoutError:
            return self._silence


def add_late(look: Callable[[], Fault | None], silence: Fault | None) -> None:
    """Have `/ready` make this check too; its fault delays signals, and people can decide."""
    _late.append(SharedCheck(look, silence))


def check() -> tuple[list[Fault], list[Fault]]:
    """Return what keeps this process from deciding, and what delays its signals."""
    for each in (_database, *_late):
        each.start()
    down, *late = (each.fault() for each in (_database, *_late))
    return [fault for fault in [down] if fault], [fault for fault in late if fault]


_SILENCE = Fault("database", "The database does not answer in time.")
_AWAY = Fault("database", "The database cannot be reached, or does not have the tables.")
_READ_ONLY = Fault("database read-only", "The database can be read and not written.")
_FULL = Fault("database full", "The disk of the database is full.")
# By the beginning of PostgreSQL's and SQLite's codes.
_FAULTS = {
    "25006": _READ_ONLY,
    "53100": _FULL,
    # `temp_file_limit` limits large queries, not decisions.
    "53400": None,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_FULL": _FULL,
    # Somebody else writes at this moment.
    "SQLITE_BUSY": None,
}


def _look_at_database() -> Fault | None:
    try:
        Membership.objects.exists()  # a database without tables is not ready either
        return _look_at_postgresql() if connection.vendor == "postgresql" else _write_to_sqlite()
    except Error as exc:
        code = str(
            getattr(exc.__cause__, "sqlstate", None)
            or getattr(exc.__cause__, "sqlite_errorname", "")
        )
        return next((fault for name, fault in _FAULTS.items() if code.startswith(name)), _AWAY)


def _look_at_postgresql() -> Fault | None:
    with transaction.atomic(), connection.cursor() as cursor:
        # Also on a standby, and where `default_transaction_read_only` is set.
        cursor.execute("SHOW transaction_read_only")
        [is_read_only] = cursor.fetchone()
        if is_read_only == "on":
            return _READ_ONLY
        # More rows than fit into this are written to a temporary file beside the tables. A row that
        # is rolled back would need vacuuming, and might find room that others do not.
        cursor.execute("SET LOCAL work_mem = '64kB'")
        cursor.execute("SELECT count(*) FROM generate_series(1, 20000)")
    return None


def _write_to_sqlite() -> Fault | None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
        # Nobody uses this number; setting it writes one page. What is rolled back is not written.
        cursor.execute("PRAGMA user_version = 0")
    return None


_database = SharedCheck(_look_at_database, _SILENCE)
_late: list[SharedCheck] = []
