"""Notices another deployment on the same database of Redis, a copy of this one's database too, and
that this one's database has got a new id (docs/adr/0038)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from django.db import connection
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.deployment import identity
from dwp_project.gateway import readiness
from dwp_project.gateway.readiness import Fault
from hitl.delivery import redis_state

logger = get_logger(__name__)

# Seconds between a process's beats, and after how many one that does not beat is gone. Chosen: two
# deployments are noticed within a quarter of a minute, and three beats may be late.
_BEAT_SECONDS, GONE_SECONDS = 5.0, 15.0
# How often another must have beaten since it was first seen. When PostgreSQL starts again, the
# instance of before may have beaten once more.
_MOST_LATE_BEATS = 1

_SHARED = Fault(
    "redis shared",
    "Another deployment uses the same Redis database: give each a Redis or a database number of "
    "its own.",
)
_COPIED = Fault(
    "redis shared",
    "Another database with this deployment's id uses the same Redis database: give the copy a new "
    "id with `manage.py renew_deployment`, and a Redis or a database number of its own.",
)
_RENEWED = Fault(
    "deployment id",
    "The database has got a new deployment id: start this process again.",
)


class Beats:
    """What a process has noticed by its beats, and by those of others."""

    def __init__(self) -> None:
        self._next_at = 0.0
        # By the member of each other database: its last beat, and how often it was a new one.
        self._others: dict[str, tuple[float, int]] = {}
        self._present: frozenset[str] = frozenset()
        self._is_renewed = False

    def beat(self) -> None:
        """Beat and look at others, if it is time; raises `redis.RedisError` and `django.db.Error`
        if Redis or the database cannot be reached."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _BEAT_SECONDS
        self._look_at_own(identity.stored())
        instance = instance_of_database()
        try:
            now, beats = redis_state.beat(f"{identity.current()}:{instance}")
        except ResponseError as exc:
            # Redis is there: signals may be sent all the same.
            logger.warning("deployments_not_compared", error=str(exc))
            return
        # A process of the same database whose id is an old one is no other deployment.
        others = {name: at for name, at in beats.items() if name.partition(":")[2] != instance}
        self._look_at_others(now, others)

    def shared(self) -> Fault | None:
        """Return the fault that another database uses the same Redis, if one does."""
        if not self._present:
            return None
        return _COPIED if self._copies() else _SHARED

    def renewed(self) -> Fault | None:
        """Return the fault that the database's id is not the process's any more, if so."""
        return _RENEWED if self._is_renewed else None

    def _look_at_own(self, stored: str) -> None:
        is_renewed = stored != identity.current()
        if is_renewed and not self._is_renewed:
            logger.warning("deployment_renewed", stored=stored, advice=_RENEWED.reason)
        self._is_renewed = is_renewed

    def _look_at_others(self, now: float, beats: Mapping[str, float]) -> None:
        others = {}
        for name, at in beats.items():
            last, count = self._others.get(name, (at, 0))
            if now - at < GONE_SECONDS:
                others[name] = (at, count + (at > last))
        self._others = others
        present = frozenset(name for name, (_, n) in others.items() if n > _MOST_LATE_BEATS)
        if present != self._present:
            self._present = present
            if (fault := self.shared()) is not None:
                logger.warning("redis_is_shared", others=sorted(present), advice=fault.reason)
            else:
                logger.info("redis_is_not_shared_any_more")

    def _copies(self) -> frozenset[str]:
        own = identity.current()
        return frozenset(name for name in self._present if name.partition(":")[0] == own)


_own = Beats()


def connect() -> None:
    """Have `/ready` say what was noticed."""
    readiness.add_late(shared, None)
    readiness.add_late(renewed, None)


def beat() -> None:
    """Beat for this process, as `Beats.beat` does."""
    _own.beat()


def shared() -> Fault | None:
    """Return the fault that another database uses the same Redis, if one does."""
    return _own.shared()


def renewed() -> Fault | None:
    """Return the fault that the database's id is not the process's any more, if so."""
    return _own.renewed()


def is_any_running() -> bool:
    """Say whether some process of this very database has beaten within the last 15 s, whatever id
    it has; raises `django.db.Error`, and `redis.RedisError` if Redis cannot be reached."""
    instance = instance_of_database()
    now, beats = redis_state.beats()
    return any(
        name.partition(":")[2] == instance and now - at < GONE_SECONDS for name, at in beats.items()
    )


def instance_of_database() -> str:
    """Return what tells this database from a copy of it with the same id, 8 hexadecimal digits;
    raises `django.db.Error`. It changes when PostgreSQL starts again."""
    name = _postgresql() if connection.vendor == "postgresql" else _sqlite()
    return sha256(name.encode()).hexdigest()[:8]


def _postgresql() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            # A schema of its own is a database of its own.
            "SELECT extract(epoch FROM pg_postmaster_start_time())::text, oid::text,"
            " coalesce(current_schema(), '')"
            " FROM pg_database WHERE datname = current_database()"
        )
        return ":".join(cursor.fetchone())


def _sqlite() -> str:
    path = str(connection.settings_dict["NAME"])
    with suppress(OSError):
        file = os.stat(path)
        path = f"{file.st_dev}:{file.st_ino}"
    # A cloned machine has equal numbers.
    with suppress(OSError):
        path += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return path
