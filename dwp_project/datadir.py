"""The folder where everything lives that the environment does not supply: database,
embedded Redis, generated secrets."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

# A Unix socket's path may have 107 bytes; Redis wants a few for itself.
_MAX_SOCKET_PATH = 100


def data_dir(base: Path) -> Path:
    """Return `DATA_DIR` (default `.data` beside manage.py), made if missing, owner-only."""
    path = Path(os.environ.get("DATA_DIR") or base / ".data").expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"DATA_DIR {path} cannot be made ({exc.strerror}). "
            "Set DATA_DIR to a folder this user may write."
        ) from exc
    return path


def _token() -> str:
    return secrets.token_urlsafe(48)


def secret(directory: Path, name: str, make: Callable[[], str] = _token) -> str:
    """Return the secret kept as `name` in `directory`, made by `make` on first use.

    Two processes that start at once agree: the file appears whole or not at all.
    """
    path = directory / name
    if not path.exists():
        fresh = directory / f".{name}.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii").strip()


def redis_socket(directory: Path) -> Path:
    """Return where the embedded Redis listens: in `directory`, or, where that path is too
    long for a socket, in an owner-only folder of the temporary directory."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = sha256(os.fsencode(directory)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"dwp-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ImproperlyConfigured(
            f"{folder} belongs to another user. Set DATA_DIR to a shorter path."
        )
    return folder / "redis.sock"
