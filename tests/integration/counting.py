"""Proxies before PostgreSQL and Redis that count what the application asks of each."""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from django.db import connections
from pytest_django import Settings

from tests.integration import outages
from tests.integration.proxy import Proxy, connected_to

_POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class Cost:
    """Round trips to PostgreSQL, the statements in them (BEGIN and COMMIT are two), round trips to
    Redis, and the commands in them (those that a script runs inside Redis are none)."""

    sql: int
    statements: int
    redis: int
    commands: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.sql - other.sql,
            self.statements - other.statements,
            self.redis - other.redis,
            self.commands - other.commands,
        )


class Counted:
    """What all connections have asked so far. Any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sql = self._statements = self._redis = self._commands = 0
        self._awaited = 0

    def add(self, *, sql: int = 0, statements: int = 0, redis: int = 0, commands: int = 0) -> None:
        with self._lock:
            self._sql += sql
            self._statements += statements
            self._redis += redis
            self._commands += commands

    def awaits(self, change: int) -> None:
        """Note that an answer of Redis is awaited, or no more."""
        with self._lock:
            self._awaited += change

    def is_answer_awaited(self) -> bool:
        return self._awaited > 0

    @property
    def cost(self) -> Cost:
        with self._lock:
            return Cost(self._sql, self._statements, self._redis, self._commands)


class _Wire(Protocol):
    """One connection's protocol, as its two directions are read."""

    def asked(self, data: bytes) -> None: ...
    def answered(self, data: bytes) -> None:
        """Take what the other side says, which is nothing when the connection has ended."""


class PostgresWire:
    """Protocol 3: a round trip ends with Query or Sync, a statement with CommandComplete."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._asked = self._answered = b""
        self._is_started = False

    def asked(self, data: bytes) -> None:
        self._asked += data
        if not self._is_started:
            # The first message alone has no type; on a Unix socket nobody asks for TLS before it.
            if len(self._asked) < 4 or len(self._asked) < (size := _whole(self._asked, 0)):
                return
            self._is_started, self._asked = True, self._asked[size:]
        kinds, self._asked = _kinds(self._asked)
        self._counted.add(sql=sum(kind in b"QS" for kind in kinds))

    def answered(self, data: bytes) -> None:
        kinds, self._answered = _kinds(self._answered + data)
        self._counted.add(statements=kinds.count(b"C"))


def _whole(data: bytes, at: int) -> int:
    return cast("int", struct.unpack_from("!I", data, at)[0])


def _kinds(data: bytes) -> tuple[bytes, bytes]:
    """Return the types of the whole messages in `data`, and what is left of it."""
    kinds, at = bytearray(), 0
    while len(data) - at >= 5 and len(data) - at > (size := _whole(data, at + 1)):
        kinds.append(data[at])
        at += 1 + size
    return bytes(kinds), data[at:]


class RedisWire:
    """RESP: commands are arrays of texts; a round trip begins with one that follows an answer."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._asked = b""
        self._is_turn = True

    def asked(self, data: bytes) -> None:
        self._asked += data
        commands = 0
        while (size := _command(self._asked)) is not None:
            commands, self._asked = commands + 1, self._asked[size:]
        if commands:
            self._counted.add(commands=commands, redis=int(self._is_turn))
            if self._is_turn:
                self._counted.awaits(1)
            self._is_turn = False

    def answered(self, data: bytes) -> None:
        if not self._is_turn:
            self._counted.awaits(-1)
        self._is_turn = True


def _command(data: bytes) -> int | None:
    """Return the length of the command that `data` begins with, or None if it is not whole."""
    head, end, _ = data.partition(b"\r\n")
    if not end:
        return None
    at = len(head) + 2
    for _ in range(int(head[1:])):
        if (line_end := data.find(b"\r\n", at)) < 0:
            return None
        at = line_end + 2 + int(data[at + 1 : line_end]) + 2
    return at if at <= len(data) else None


class _CountingProxy(Proxy):
    """Has each connection read by a wire of its own."""

    def __init__(
        self, path: Path, connect: Callable[[], socket.socket], wire: Callable[[], _Wire]
    ) -> None:
        self._wire = wire
        super().__init__(path, connect)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        wire = self._wire()
        self.start(_pump, near, far, wire.asked)
        self.start(_pump, far, near, wire.answered)


def _pump(one: socket.socket, other: socket.socket, read: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            # Counted first: who has the answer then finds it counted.
            read(data)
            other.sendall(data)
    read(b"")
    with suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting(settings: Settings) -> Iterator[Counted]:
    """Have PostgreSQL and Redis reached through proxies that count."""
    connection: Any = connections["default"]
    described: dict[str, Any] = connection.settings_dict
    kept = dict(described)
    counted = Counted()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        database = _CountingProxy(
            Path(folder) / f".s.PGSQL.{_POSTGRES_PORT}",
            lambda: _connected(kept["HOST"], int(kept["PORT"] or _POSTGRES_PORT)),
            lambda: PostgresWire(counted),
        )
        target = str(settings.REDIS_URL).removeprefix("unix://")
        cache = _CountingProxy(
            Path(folder) / "redis.sock",
            lambda: connected_to(target),
            lambda: RedisWire(counted),
        )
        _reconnect(connection)
        described.update(HOST=folder, PORT="")
        try:
            with outages.redis_at(settings, f"unix://{folder}/redis.sock"):
                yield counted
        finally:
            _reconnect(connection)
            described.update(kept)
            database.close()
            cache.close()


def _reconnect(connection: Any) -> None:
    connection.close()
    connection.close_pool()


def _connected(host: str, port: int) -> socket.socket:
    if host.startswith("/"):
        return connected_to(f"{host}/.s.PGSQL.{port}")
    return socket.create_connection((host, port))
