"""Limits of a client's connection in seconds, and of the process in file descriptors."""

from __future__ import annotations

import resource
from dataclasses import dataclass


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


def allow_open_files() -> None:
    """Raise the limit of open files as far as this user may: every connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
