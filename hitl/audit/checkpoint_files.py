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

# Chosen: some 150 lines of usual length, of which the last one that is trusted is wanted.
_TAIL_BYTES = 64 * 1024
# Chosen: eight times our longest line, which is 2 KiB where a tenant id of 255 characters is
# escaped. A longer line is not ours and is read in blocks of this size.
_LINE_BYTES = 16 * 1024
# Do not follow a link, and do not wait for somebody who writes to a pipe.
_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

logger = get_logger(__name__)


class LinesLost(Exception):
    """A file lacks a checkpoint that was written to it: it vanished, or was cut or replaced."""


def folder() -> Path:
    """Return AUDIT_CHECKPOINT_DIR."""
    return Path(settings.AUDIT_CHECKPOINT_DIR)


def file_of(tenant_id: str) -> Path:
    """Return the path of a tenant's file. Its name has the tenant's safe characters for people
    to read, and a digest by which no two tenants share a file."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", tenant_id)[:40].lstrip(".") or "deployment"
    return folder() / f"{readable}-{sha256(tenant_id.encode()).hexdigest()[:16]}.jsonl"


def append(
    tenant_id: str,
    checkpoints_after: Callable[[int], Iterable[tuple[int, str, str]]],
    trusted_sequence: Callable[[str, str], int],
    written: Callable[[], int] = lambda: 0,
) -> int:
    """Append the checkpoints that the file lacks, sync it to disk, and return the record number
    of the last trusted one in it.

    `trusted_sequence` returns the record number of a statement and its signature, 0 if they are
    not trusted. `checkpoints_after` yields record number, statement and signature of those after
    the last such number in the file. `written` returns the number up to which they were written
    before. Processes that append at once wait for each other. Raises `OSError`, and `LinesLost`
    if the file lacks what was written: then nothing is created or appended.
    """
    path = file_of(tenant_id)
    # Read before the file: who writes a number has created the file before.
    if (number := written()) and not path.exists():
        raise LinesLost(_lost_message(path, number))
    _make_folder(path.parent)
    descriptor, is_new = _open_to_append(path)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        _require_plain_file(descriptor, path)
        fcntl.flock(file, fcntl.LOCK_EX)
        tail = _read_tail(file)
        after = max(
            (trusted_sequence(*line) for line in _parse_lines(tail) if line is not None), default=0
        )
        if after == 0 and len(tail) == _TAIL_BYTES:
            # Somebody filled the end of the file with other lines: read all of it.
            after = max((trusted_sequence(*line) for line in lines(tenant_id) if line), default=0)
        # Read again, since another process may have appended meanwhile.
        if after < (number := written()):
            raise LinesLost(_lost_message(path, number))
        count = 0
        for sequence, statement, signature in checkpoints_after(after):
            line = canonical({"statement": statement, "signature": signature}).encode() + b"\n"
            if count == 0 and tail and not tail.endswith(b"\n"):
                # A crash cut the last line short.
                line = b"\n" + line
            _write(file, line)
            count += 1
            after = max(after, sequence)
        if count:
            os.fsync(file.fileno())
    if is_new:
        _sync_folder(path.parent)
    return after


def _lost_message(path: Path, sequence: int) -> str:
    return f"{path} has no trusted checkpoint of record {sequence}, which was written to it."


def lines(tenant_id: str) -> Iterator[tuple[str, str] | None]:
    """Yield statement and signature of each line, and None for a line that cannot be parsed.

    Raises `OSError` if the file exists and cannot be read.
    """
    try:
        file = _open(file_of(tenant_id))
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(_LINE_BYTES):
            yield _parse_line(line)


def last_lines(tenant_id: str) -> list[tuple[str, str]]:
    """Return the last lines as `lines` does, without those that cannot be parsed."""
    try:
        with _open(file_of(tenant_id)) as file:
            return [line for line in _parse_lines(_read_tail(file)) if line is not None]
    except FileNotFoundError:
        return []


def files() -> Iterator[tuple[Path, Iterator[str]]]:
    """Yield every file with the statements of its lines.

    A file that cannot be read is logged and yields no statement, so that its tenant stays unknown
    unless the database has it too.
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


def _make_folder(path: Path) -> None:
    """Create a folder and those above it for their owner only, unless they exist."""
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _OPEN_FLAGS)
    try:
        _give_to_owner_of(path.parent, descriptor)
    finally:
        os.close(descriptor)


def _open_to_append(path: Path) -> tuple[int, bool]:
    """Open a file to read and append; return its descriptor, and whether it is new."""
    flags = os.O_RDWR | os.O_APPEND | _OPEN_FLAGS
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags), False
    _give_to_owner_of(path.parent, descriptor)
    return descriptor, True


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give what root has just created to the owner of the folder that it is in, because the
    service is not root and has to append to it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _open(path: Path) -> BinaryIO:
    """Open a file to read; raise `OSError` if it is a link, a pipe or a folder."""
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
