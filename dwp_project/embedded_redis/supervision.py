"""Decides which process owns the embedded Redis of a DATA_DIR, and restarts it when it ends."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import structlog

from dwp_project.datadir import redis_socket
from dwp_project.embedded_redis.errors import RedisNotStarted
from dwp_project.embedded_redis.process import START_SECONDS, RedisProcess

logger = structlog.get_logger(__name__)

# The time within which another process takes over, as `EmbeddedRedis` promises.
_LOOK_SECONDS = 1.0
# Two looks: the thread sees the end at the next one. It may be inside a start, which takes up to
# `START_SECONDS`; it starts nothing afterwards.
_JOIN_SECONDS = 2.0
# Pauses between attempts to start a Redis that ended, in seconds. Chosen: at once after one crash,
# and slowly where every start fails, so that the log stays readable.
_RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
# The pauses begin anew after this long without a crash: twice the longest of them.
_STEADY_SECONDS = 60.0


class EmbeddedRedis:
    """The Redis of one DATA_DIR, shared by every process that serves from there.

    The process with the lock on `serve.lock` owns it: starts, restarts and ends it. The kernel
    releases the lock when that process ends, so no stale owner exists; a Redis that a killed owner
    left running is taken over as it is. The other processes only use it, and one of them takes over
    within a second after the owner has ended.
    """

    def __init__(self, data_dir: Path) -> None:
        self._redis = RedisProcess(redis_socket(data_dir), data_dir / "redis")
        self._lock_path = data_dir / "serve.lock"
        self._lock: int | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="embedded-redis", daemon=True)

    @property
    def is_owner(self) -> bool:
        """Whether this process ends Redis when it stops."""
        return self._lock is not None

    def start(self) -> None:
        """Return when Redis answers; raise `RedisNotStarted`."""
        deadline = time.monotonic() + START_SECONDS
        while not self._redis.answers():
            # Not while Redis is only slow or loading: a second one would take its socket.
            if self._acquire_lock() and self._redis.is_gone():
                self._redis.start()
            elif time.monotonic() > deadline:
                raise RedisNotStarted(
                    f"The Redis that another process started in {self._lock_path.parent} does "
                    "not answer. End that process, or set another DATA_DIR."
                )
            else:
                time.sleep(0.05)
        self._acquire_lock()
        self._thread.start()

    def stop(self) -> None:
        """End Redis if this process owns it. Safe to call twice, or without `start`."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)
        if self._lock is not None:
            self._redis.stop()
            os.close(self._lock)
            self._lock = None

    def _acquire_lock(self) -> bool:
        """Try to become the owner; say whether this process is."""
        if self._lock is not None:
            return True
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _supervise(self) -> None:
        attempts = 0
        steady_since = time.monotonic()
        while not self._ending.wait(_LOOK_SECONDS):
            is_owner = self._acquire_lock()
            if not self._redis.is_gone():
                if time.monotonic() - steady_since > _STEADY_SECONDS:
                    attempts = 0
                continue
            if not is_owner:
                continue
            pause = _RESTART_SECONDS[min(attempts, len(_RESTART_SECONDS) - 1)]
            attempts += 1
            logger.warning("embedded_redis_ended", restart_in_seconds=pause)
            if self._ending.wait(pause):
                return
            try:
                self._redis.start()
            except (RedisNotStarted, OSError) as exc:
                logger.error("embedded_redis_not_restarted", reason=str(exc))
            steady_since = time.monotonic()
