"""Verifies an export by itself: no database, no settings, no running deployment."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from hitl.audit import export_format, export_manifest, signing
from hitl.audit.export_format import Format, Unreadable
from hitl.audit.hashing import GENESIS, hash_of_facts

# Chosen: several times a manifest with 101 checkpoints of 2 KiB.
_MAX_MEMBER_BYTES = 1024 * 1024
# How much is read at a time where the caller does not read lines. Chosen.
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class IntactExport:
    """An export that holds: signature, digest, hashes, links and count fit."""

    manifest: dict[str, Any]
    # Whether the signing key is among those that the caller passed.
    is_key_known: bool
    # The last exported record that a checkpoint vouches for, by the same key or a known one.
    vouched: int
    # Pairs of record numbers: the second follows the first, and acknowledges a break.
    breaks: tuple[tuple[int, int], ...] = ()


def verify(path: Path, keys: dict[str, bytes]) -> IntactExport:
    """Check the signature, the digest, every record's hash, the links and the count of a file.

    `keys` are the known public keys by id. Raises `Unreadable` with the first fault.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _verify(archive, keys)
    except zipfile.BadZipFile as exc:
        raise Unreadable(
            "it is not a whole ZIP file: the download was cut short, or it is something else"
        ) from exc
    except UnicodeError as exc:
        raise Unreadable("a text in it is no Unicode") from exc
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError) as exc:
        raise Unreadable(f"a member of the ZIP file is damaged: {exc}") from exc


def _verify(archive: zipfile.ZipFile, keys: dict[str, bytes]) -> IntactExport:
    names = archive.namelist()
    for name in names:
        if names.count(name) > 1:
            raise Unreadable(f"the ZIP file holds {name} twice: it is not certain which was signed")
    raw = _read_member(archive, export_format.MANIFEST, names)
    signature = _read_member(archive, export_format.SIGNATURE, names).decode("ascii", "replace")
    manifest = export_manifest.parse(raw)
    public = export_manifest.public_key(manifest)
    key_id = signing.key_id_of(public)
    if key_id != manifest["keyId"]:
        raise Unreadable("the manifest's key is not the one it names")
    # Prefer the known key of that id to the one in the file.
    public = keys.get(key_id, public)
    if not signing.is_signed_by(public, raw, signature):
        raise Unreadable("the signature does not fit the manifest: one of them was changed")
    form = Format(manifest["format"])
    content_name = export_format.content_name(form)
    if set(names) != {export_format.MANIFEST, export_format.SIGNATURE, content_name}:
        raise Unreadable("the ZIP file holds other members than an export has")
    export_manifest.check(manifest)
    hashes = export_manifest.signed_hashes(manifest, {**keys, key_id: public})
    with archive.open(content_name) as content:
        reader = _DigestingReader(content)
        vouched = _verify_records(reader, form, manifest, hashes)
        if reader.hexdigest() != manifest["sha256"]:
            raise Unreadable("the records are not those that were signed: their digest differs")
    breaks = tuple(
        (after, sequence) for sequence, after in export_manifest.breaks(manifest).items()
    )
    return IntactExport(manifest, is_key_known=key_id in keys, vouched=vouched, breaks=breaks)


def _verify_records(
    content: _DigestingReader, form: Format, manifest: dict[str, Any], hashes: dict[int, str]
) -> int:
    """Check each record and its link; return the last number that a checkpoint vouches for."""
    first = expected = manifest["firstSequence"]
    count, vouched, previous = 0, 0, manifest["previousHash"]
    breaks = export_manifest.breaks(manifest)
    if first == 1 and previous != GENESIS:
        raise Unreadable("record 1 does not begin a chain")
    for record in export_format.records(content, form):
        stated = record.pop("hash", None)
        sequence = record.get("sequence")
        if type(sequence) is int and breaks.get(sequence, 0) == expected - 1 > 0:
            _verify_break(record, after=expected - 1, hashes=hashes)
            del breaks[sequence]
            expected = sequence
        if sequence != expected and expected == first:
            raise Unreadable(
                f"record {first} is missing or out of its place: the records begin with number "
                f"{sequence!r}, and the manifest's firstSequence is {first}"
            )
        if sequence != expected:
            raise Unreadable(f"record {expected} is missing or out of its place")
        if record.get("tenant") != manifest["tenant"]:
            raise Unreadable(f"record {expected} belongs to another tenant")
        if record.get("previousHash") != previous:
            raise Unreadable(f"record {expected} does not follow the one before it")
        if hash_of_facts(record) != stated:
            raise Unreadable(f"record {expected} does not say what it said: its hash differs")
        if hashes.get(expected, stated) != stated:
            raise Unreadable(f"record {expected} is not the one a checkpoint vouches for")
        vouched = expected if expected in hashes else vouched
        expected, count, previous = expected + 1, count + 1, stated
    if breaks:
        raise Unreadable(
            f"the manifest says that record {min(breaks)} acknowledges a break, and no such record "
            "is there"
        )
    _verify_count(manifest, count=count, last=expected - 1 if count else 0)
    if manifest["records"]:
        _verify_ends(manifest, last_hash=previous)
    return vouched


def _verify_break(record: dict[str, Any], *, after: int, hashes: dict[int, str]) -> None:
    """Check that a record with a number behind a gap acknowledges the break that it follows."""
    sequence = record["sequence"]
    try:
        details = json.loads(record["details"])
        is_acknowledged = details["after"] == after
    except (ValueError, TypeError, KeyError, RecursionError):
        is_acknowledged = False
    if record.get("event") != export_format.BREAK_EVENT or not is_acknowledged:
        raise Unreadable(f"record {sequence} does not acknowledge a break after record {after}")
    signed = [number for number in hashes if after < number < sequence]
    if signed:
        raise Unreadable(
            f"a checkpoint vouches for record {min(signed)}, which record {sequence} acknowledges "
            "as inserted"
        )


def _verify_count(manifest: dict[str, Any], *, count: int, last: int) -> None:
    """Compare the records that were read, and the last one, with each of the manifest's numbers."""
    first, stated_last, stated = (manifest[name] for name in export_manifest.NUMBERS)
    if count != stated and last != stated_last:
        raise Unreadable(
            f"it holds {count} records and ends with number {last}; the manifest says {stated} "
            f"records, up to number {stated_last}"
        )
    if count != stated:
        raise Unreadable(f"it holds {count} records; the manifest's records says {stated}")
    if last != stated_last:
        raise Unreadable(
            f"it ends with record {last}; the manifest's lastSequence is {stated_last}"
        )
    if not count and first:
        raise Unreadable(f"it holds no record; the manifest's firstSequence is {first}")


def _verify_ends(manifest: dict[str, Any], *, last_hash: str) -> None:
    """Compare the first and the last record with the span and the head that the manifest names."""
    head, last = manifest["head"], manifest["lastSequence"]
    if manifest["from"] is None and manifest["firstSequence"] != 1:
        raise Unreadable("it is to be from the beginning, and does not begin with record 1")
    if manifest["to"] is None and last != head["sequence"]:
        raise Unreadable("it is to go to the end, and does not go to the head that it names")
    if last_hash != manifest["lastHash"]:
        raise Unreadable("the last record is not the one that the manifest's lastHash names")
    if last == head["sequence"] and last_hash != head["hash"]:
        raise Unreadable("the last record is not the head that the manifest names")


def _read_member(archive: zipfile.ZipFile, name: str, names: list[str]) -> bytes:
    if name not in names:
        raise Unreadable(f"it holds no {name}")
    with archive.open(name) as file:
        raw = file.read(_MAX_MEMBER_BYTES + 1)
    if len(raw) > _MAX_MEMBER_BYTES:
        raise Unreadable(f"its {name} is too large to be one")
    return raw


class _DigestingReader(io.BufferedIOBase):
    """Reads a file once, from beginning to end, and digests what it reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, sha256()

    def hexdigest(self) -> str:
        """Read the rest, and return the digest of the whole file."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        raw = self._file.read(-1 if size is None else size)
        self._digest.update(raw)
        return raw

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(_BLOCK_BYTES if size < 0 else size)

    def readline(self, size: int | None = -1, /) -> bytes:
        raw = self._file.readline(-1 if size is None else size)
        self._digest.update(raw)
        return raw
