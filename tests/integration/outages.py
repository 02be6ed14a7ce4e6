"""Blocks within which Redis or the database is not there."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from pytest_django import Settings

from dwp_project.wakeup import redis_client
from tests.integration.proxy import Proxy, connected_to


@contextmanager
def no_redis(settings: Settings) -> Iterator[None]:
    """Have nobody listen where Redis should be."""
    with redis_at(settings, "unix:///tmp/nobody-listens-here.sock"):
        yield


@contextmanager
def frozen_redis(settings: Settings) -> Iterator[None]:
    """Have somebody accept where Redis should be, and never answer."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as ear:
        path = Path(folder) / "frozen.sock"
        ear.bind(str(path))
        ear.listen(128)
        with redis_at(settings, f"unix://{path}"):
            yield


class Link(Proxy):
    """A way to Redis on which everything that is open now can be frozen: bytes neither come
    nor go, and nobody is told. What is opened afterwards works."""

    def __init__(self, target: str, path: Path) -> None:
        self._open: list[threading.Event] = []
        super().__init__(path, lambda: connected_to(target))

    def freeze(self) -> int:
        """Freeze what is open; return how many connections that are."""
        live = [frozen for frozen in self._open if not frozen.is_set()]
        for frozen in live:
            frozen.set()
        return len(live)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        frozen = threading.Event()
        self._open.append(frozen)
        self.start(_pump, near, far, frozen)
        self.start(_pump, far, near, frozen)


def _pump(one: socket.socket, other: socket.socket, frozen: threading.Event) -> None:
    """Carry bytes until one end closes or the link is frozen, which closes nothing."""
    with suppress(OSError):
        while (data := one.recv(65536)) and not frozen.is_set():
            other.sendall(data)
    if not frozen.is_set():
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        frozen.set()


@contextmanager
def freezable_redis(settings: Settings) -> Iterator[Link]:
    """Have Redis reached through a link that can be frozen."""
    target = str(settings.REDIS_URL).removeprefix("unix://")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "link.sock"
        link = Link(target, path)
        try:
            with redis_at(settings, f"unix://{path}"):
                yield link
        finally:
            link.close()


@contextmanager
def redis_at(settings: Settings, url: str) -> Iterator[None]:
    """Have Redis looked for at `url`."""
    kept = settings.REDIS_URL
    _forget_client()
    settings.REDIS_URL = url
    try:
        yield
    finally:
        _forget_client()
        settings.REDIS_URL = kept


@contextmanager
def no_database() -> Iterator[None]:
    """Have every new connection to the database fail."""
    connection: Any = connections["default"]
    described: dict[str, Any] = connection.settings_dict
    kept = dict(described)
    _close(connection)
    if connection.vendor == "postgresql":
        connection.close_pool()
    options = {name: value for name, value in kept["OPTIONS"].items() if name != "pool"}
    described.update(NAME="/nowhere/at/all", HOST="/nowhere", OPTIONS=options)
    try:
        yield
    finally:
        _close(connection)
        described.update(kept)


def _forget_client() -> None:
    redis_client().close()
    redis_client.cache_clear()


def _close(connection: Any) -> None:
    # In a coroutine this thread asks the database nothing, and Django forbids to close it.
    with suppress(SynchronousOnlyOperation):
        connection.close()
