"""The files outside the database that checkpoints are appended to, one for each tenant."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from structlog.stdlib import get_logger

from dwp_project.jsontext import canonical

# Some hundreds of lines; the last of them tells how far the file goes.
_TAIL_BYTES = 64 * 1024
# No line of ours is longer. What is, is skipped in pieces of this size.
_LINE_BYTES = 16 * 1024
# Through no link, and without waiting for whoever writes to a pipe.
_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

logger = get_logger(__name__)


def folder() -> Path:
    """Return AUDIT_CHECKPOINT_DIR."""
    return Path(settings.AUDIT_CHECKPOINT_DIR)


def file_of(tenant_id: str) -> Path:
    """Return a tenant's file. Its name is safe whatever the tenant is called: what may stand in
    a name, for people, and a digest that no two tenants share."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", tenant_id)[:40].lstrip(".") or "deployment"
    return folder() / f"{readable}-{sha256(tenant_id.encode()).hexdigest()[:16]}.jsonl"


def append(
    tenant_id: str,
    checkpoints_after: Callable[[int], Iterable[tuple[int, str, str]]],
    trusted_sequence: Callable[[str, str], int],
) -> int:
    """Append what `missing` yields (record number, statement, signature) behind the last record
    number in the file that is `believed`, and have the disk keep it; return how many lines.

    Processes that do this at once wait for each other. Raises `OSError`.
    """
    path = file_of(tenant_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _OPEN_FLAGS, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        _require_plain_file(descriptor, path)
        fcntl.flock(file, fcntl.LOCK_EX)
        tail = _read_tail(file)
        after = max(
            (trusted_sequence(*line) for line in _parse_lines(tail) if line is not None), default=0
        )
        if after == 0 and len(tail) == _TAIL_BYTES:
            # Somebody filled its end with something else.
            after = max((trusted_sequence(*line) for line in lines(tenant_id) if line), default=0)
        count = 0
        for _sequence, statement, signature in checkpoints_after(after):
            line = canonical({"statement": statement, "signature": signature}).encode() + b"\n"
            if count == 0 and tail and not tail.endswith(b"\n"):
                # A crash has cut the last line short.
                line = b"\n" + line
            _write(file, line)
            count += 1
        if count:
            os.fsync(file.fileno())
    if is_new:
        _sync_folder(path.parent)
    return count


def lines(tenant_id: str) -> Iterator[tuple[str, str] | None]:
    """Yield statement and signature of each line, and None for a line that is none.

    Raises `OSError` for a file that is there and cannot be read.
    """
    try:
        file = _open(file_of(tenant_id))
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(_LINE_BYTES):
            yield _parse_line(line)


def last_lines(tenant_id: str) -> list[tuple[str, str]]:
    """Return statements and signatures of the last lines; raises `OSError` as `lines` does."""
    try:
        with _open(file_of(tenant_id)) as file:
            return [line for line in _parse_lines(_read_tail(file)) if line is not None]
    except FileNotFoundError:
        return []


def files() -> Iterator[tuple[Path, Iterator[str]]]:
    """Yield every file with the statements of its lines; what cannot be read has none.

    It is logged: the tenant that it is of is not known, unless the database knows it as well.
    """
    for path in sorted(folder().glob("*.jsonl")):
        yield path, _statements(path)


def _statements(path: Path) -> Iterator[str]:
    try:
        with _open(path) as file:
            while raw := file.readline(_LINE_BYTES):
                if (line := _parse_line(raw)) is not None:
                    yield line[0]
    except OSError as exc:
        logger.error("checkpoint_file_unreadable", path=str(path), error=str(exc))


def _open(path: Path) -> BinaryIO:
    """Open a file of ours to read; raises `OSError` for a link, a pipe or a folder in its place."""
    descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    file = os.fdopen(descriptor, "rb")
    try:
        _require_plain_file(descriptor, path)
    except OSError:
        file.close()
        raise
    return file


def _require_plain_file(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))


def _read_tail(file: BinaryIO | Any) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return bytes(file.read(_TAIL_BYTES))


def _parse_lines(raw: bytes) -> list[tuple[str, str] | None]:
    return [_parse_line(line) for line in raw.split(b"\n") if line]


def _parse_line(raw: bytes) -> tuple[str, str] | None:
    try:
        row = json.loads(raw)
        return str(row["statement"]), str(row["signature"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _write(file: Any, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
