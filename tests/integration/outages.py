"""Blocks within which Redis or the database is not there."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from pytest_django import Settings

from dwp_project.wakeup import redis_client


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
