"""Limits of a client's connection in seconds, and of the process in file descriptors."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

import structlog
from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds a client has for each part of an exchange (docs/adr/0020 says why)."""

    # From the connection to its first byte.
    new: float = 75.0
    # From a request's first byte to its last.
    receive: float = 15.0
    # Without receiving a single byte of what is waiting for it.
    stall: float = 5.0
    # Between requests. Longer than proxies keep a connection by default (nginx: 60 s), so that the
    # proxy closes it: a request sent into one that the server closes at that moment is lost.
    idle: float = 75.0
    # To read an answer that was sent before the request was complete.
    linger: float = 2.0


DEFAULT_LIMITS = Limits()
# The limits while the process ends: they fit into the seconds of `server.shutdown`. A proxy that
# has just connected sends its request; if that were lost, it could not know whether to repeat it.
SHUTDOWN_LIMITS = Limits(new=2.0, receive=2.0, stall=2.0, idle=0.0, linger=1.0)


# Descriptors for all but clients and the pool of database connections: SQLite's and Redis's of each
# thread, listeners, what is open for a moment. Chosen: more than were ever seen.
_OWN_FILES = 150
# Chosen: a process with a limit for fewer clients is refused their connections in everyday use.
_FEW_CONNECTIONS = 1000
REMEDY = (
    "Every client needs an open file. Raise the limit (`ulimit -n 65536`, or LimitNOFILE= in a "
    "systemd unit) or start more processes."
)

logger = structlog.get_logger(__name__)


def allow_open_files() -> int:
    """Raise the limit of open files as far as this user may: every connection needs one.

    Returns how many clients may be connected, and logs a warning if they are few. The rest of the
    descriptors is for what the process opens itself, so that clients cannot take it away.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return sys.maxsize
    connections = max(hard - _OWN_FILES - settings.DATABASE_POOL_SIZE, hard // 4)
    if connections < _FEW_CONNECTIONS:
        logger.warning(
            "open_files_limit_is_low", limit=hard, connections=connections, remedy=REMEDY
        )
    return connections
