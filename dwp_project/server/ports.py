"""The ports of a process: bound before anything else starts, listening when all is ready."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

# Connections that may wait to be accepted: a burst of 2,000. Measured: daphne's 50 let through 56 a
# second of such a burst.
BACKLOG = 2048
# Bytes that the kernel buffers for a client that does not read; its default is megabytes
# (docs/adr/0020).
_SEND_BUFFER = 128 * 1024


class NoPort(Exception):
    """The first port cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """A bound socket; clients can connect after `listen`."""

    socket: socket.socket
    port: int


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port that cannot be used, and a sentence that says why."""

    port: int
    reason: str


def bind(host: str, ports: Sequence[int]) -> tuple[list[OpenPort], list[TakenPort]]:
    """Bind every port of `host` that is free; raise `NoPort` if the first is not.

    Clients are configured with the first port; a later one that another program uses only means
    that this service does not answer there. Port 0 is any free port.
    """
    if not ports:
        raise NoPort("PORTS names no port. Set it like PORTS=8080,8081.")
    opened: list[OpenPort] = []
    taken: list[TakenPort] = []
    for port in dict.fromkeys(ports):
        try:
            if not 0 <= port <= 65535:
                raise OverflowError("port must be 0-65535")
            bound = _bound_socket(host, port)
        except (OSError, OverflowError) as exc:
            reason = _reason(host, port, exc)
            if not opened:
                raise NoPort(reason) from exc
            taken.append(TakenPort(port, reason))
        else:
            opened.append(OpenPort(bound, bound.getsockname()[1]))
    return opened, taken


def listen(host: str, ports: Sequence[OpenPort]) -> tuple[list[OpenPort], list[TakenPort]]:
    """Let clients connect to bound `ports`; raise `NoPort` if the first cannot be used.

    Two programs can bind the same port; the one that listens first gets it.
    """
    listening: list[OpenPort] = []
    taken: list[TakenPort] = []
    for port in ports:
        try:
            port.socket.listen(BACKLOG)
        except OSError as exc:
            port.socket.close()
            reason = _reason(host, port.port, exc)
            if not listening:
                raise NoPort(reason) from exc
            taken.append(TakenPort(port.port, reason))
        else:
            listening.append(port)
    return listening, taken


def _bound_socket(host: str, port: int) -> socket.socket:
    # IPv4 first: `localhost` is both, and clients are configured with 127.0.0.1.
    addresses = sorted(
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE),
        key=lambda address: address[0] != socket.AF_INET,
    )
    family, kind, protocol, _, address = addresses[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setblocking(False)
        # A restart does not wait for the old process's connections to time out.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Accepted connections inherit it.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def _reason(host: str, port: int, exc: Exception) -> str:
    if isinstance(exc, socket.gaierror):
        return f"HOST {host} is not a name or address that can be resolved ({exc.strerror})."
    if isinstance(exc, OverflowError):
        return f"{port} is not a port. Ports are numbers from 1 to 65535; set PORTS."
    match getattr(exc, "errno", None):
        case errno.EADDRINUSE:
            return (
                f"Port {port} is taken by another program (`ss -ltnp 'sport = :{port}'` names "
                "it). End that program, or set PORTS to other ports, like PORTS=18080,18081."
            )
        case errno.EACCES:
            return (
                f"This user may not listen on port {port}. Set PORTS to ports above 1023, "
                "behind a reverse proxy if clients need another."
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"HOST {host} is no address of this machine. Set HOST to one that is, "
                "127.0.0.1 for this machine only or 0.0.0.0 for every network."
            )
    return f"Cannot listen on {host} port {port}: {exc}."
