"""The process's Redis client for commands, and what happens when Redis does not answer it."""

from __future__ import annotations

import time
from functools import cache
from types import TracebackType
from typing import Self

import redis
from django.conf import settings
from redis.exceptions import RedisError, ResponseError
from structlog.stdlib import get_logger

logger = get_logger(__name__)

# After a failure Redis is left alone this long. Chosen: as long as one try takes on a frozen link.
_PAUSE_SECONDS = 1.0
# Every command fails within this. Chosen: long for a Redis nearby, and short for who waits.
_TIMEOUT_SECONDS = 1.0

_paused_until = 0.0


@cache
def redis_client() -> redis.Redis:
    """Return the process's Redis client for commands; every call fails within a second."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=None,
    )


def _pause() -> None:
    global _paused_until  # noqa: PLW0603 - one breaker per process
    _paused_until = time.monotonic() + _PAUSE_SECONDS


def is_paused() -> bool:
    """Say whether Redis failed so recently that it is left alone for the moment."""
    return time.monotonic() < _paused_until


class RedisCall:
    """A block that calls Redis, from `redis_may_be_away`; `error` says why it failed, if so."""

    def __init__(self, event: str, fields: dict[str, object]) -> None:
        self._event, self._fields = event, fields
        self.error = ""

    @property
    def has_failed(self) -> bool:
        return bool(self.error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(exc, RedisError | OSError):
            return False
        self.error = str(exc).strip() or type(exc).__name__
        if not isinstance(exc, ResponseError):
            # A Redis that refuses a command is there, and answers at once.
            _pause()
        logger.warning(self._event, **self._fields, error=self.error)
        return True


def redis_may_be_away(event: str, **fields: object) -> RedisCall:
    """Run a `with` block that calls Redis; if that fails, log `event`, leave Redis alone for a
    moment, and go on after the block.

        with redis_may_be_away("redis_away") as call:
            ...
        if call.has_failed:
            ...
    """
    return RedisCall(event, fields)
