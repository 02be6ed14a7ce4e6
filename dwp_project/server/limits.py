"""What a client may take: seconds, bytes in flight, file descriptors."""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds a client has for each part of an exchange (docs/adr/0020 says why)."""

    # From a request's first byte to its last.
    receive: float = 15.0
    # Without taking a single byte of what is waiting for it.
    stall: float = 5.0
    # Between requests. Longer than nginx keeps a connection to us (60 s), so that it is nginx
    # that closes: a request sent into a connection that is just being closed is lost.
    idle: float = 75.0
    # To read an answer that came before the request was whole, which is thrown away meanwhile.
    linger: float = 2.0


DEFAULT_LIMITS = Limits()
# What applies once the process is told to end: it fits into the seconds of `server.ending`.
SHUTDOWN_LIMITS = Limits(receive=2.0, stall=2.0, idle=0.0, linger=1.0)


def allow_open_files() -> None:
    """Raise the limit of open files as far as this user may: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
