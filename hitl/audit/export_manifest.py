"""Reads an export's manifest, and refuses one that contradicts itself or its checkpoints."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from hitl.audit import checkpoint_statement, export_format, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.export_format import Format, Unreadable

_MEMBERS = {
    "kind", "form", "tenant", "format", "content", "from", "to", "firstSequence",
    "lastSequence", "head", "createdAt", "createdBy", "records", "sha256", "previousHash",
    "lastHash", "checkpoints", "keyId", "publicKey",
}  # fmt: skip
NUMBERS = ("firstSequence", "lastSequence", "records")
# These may be null: an export without a beginning or an end in time.
_MAY_BE_OPEN = {"from", "to"}


def parse(raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Unreadable("the manifest is no JSON") from exc
    if not isinstance(manifest, dict) or manifest.get("kind") != export_format.KIND:
        raise Unreadable("it is not an export of audit records")
    if manifest.get("form") != export_format.FORM or _MEMBERS - set(manifest):
        raise Unreadable("its manifest is of a form that this version does not know")
    shapes: dict[str, type] = dict.fromkeys(_MEMBERS, str) | dict.fromkeys(NUMBERS, int)
    shapes |= {"form": int, "checkpoints": list, "head": dict}
    wrong = [name for name, shape in shapes.items() if type(manifest[name]) is not shape]
    if [name for name in wrong if not (name in _MAY_BE_OPEN and manifest[name] is None)]:
        raise Unreadable("its manifest is of a form that this version does not know")
    if manifest["format"] not in set(Format):
        raise Unreadable("its manifest is of a form that this version does not know")
    return manifest


def public_key(manifest: dict[str, Any]) -> bytes:
    try:
        raw = base64.b64decode(str(manifest["publicKey"]), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Unreadable("the manifest's public key cannot be read") from exc
    if len(raw) != 32:
        raise Unreadable("the manifest's public key cannot be read")
    return raw


def check(manifest: dict[str, Any]) -> None:
    """Check that what the manifest says of records, head and time does not contradict itself."""
    first, last = manifest["firstSequence"], manifest["lastSequence"]
    head = _head_sequence(manifest)
    negative = [name for name in NUMBERS if manifest[name] < 0]
    if negative:
        raise Unreadable(f"the manifest's {negative[0]} is {manifest[negative[0]]}: no such number")
    if first > last:
        raise Unreadable(
            f"the manifest contradicts itself: firstSequence {first} is behind lastSequence {last}"
        )
    if last > head:
        raise Unreadable(
            f"the manifest contradicts itself: lastSequence {last} is beyond the head, "
            f"record {head}"
        )
    since, until = _time(manifest, "from"), _time(manifest, "to")
    if since and until and since > until:
        raise Unreadable("the manifest contradicts itself: it is from a time that is after its end")
    if not manifest["records"] and head and not since and not until:
        raise Unreadable(
            f"it is to be the whole chain and holds no record; the head is record {head}"
        )


def breaks(manifest: dict[str, Any]) -> dict[int, int]:
    """Return, by the numbers of the records that acknowledge them, after which record the breaks
    are that the manifest names."""
    rows = manifest.get(export_format.BREAKS, [])
    try:
        breaks = {row["sequence"]: row["after"] for row in rows}
    except (TypeError, KeyError) as exc:
        raise Unreadable("the acknowledged breaks in the manifest cannot be read") from exc
    first, last = manifest["firstSequence"], manifest["lastSequence"]
    for sequence, after in breaks.items():
        if type(sequence) is not int or type(after) is not int:
            raise Unreadable("the acknowledged breaks in the manifest cannot be read")
        if not first <= after < sequence <= last:
            raise Unreadable(
                f"the manifest contradicts itself: the break between {after} and {sequence} is "
                "not within its records"
            )
    return breaks


def signed_hashes(manifest: dict[str, Any], keys: dict[str, bytes]) -> dict[int, str]:
    """Return the hashes by record number of the checkpoints that one of `keys` signed.

    Every checkpoint has to fit the manifest, also one of a key that is not known here.
    """
    hashes: dict[int, str] = {}
    head = manifest["head"]
    for number, row in enumerate(manifest["checkpoints"], start=1):
        try:
            text, signature = str(row["statement"]), str(row["signature"])
        except (TypeError, KeyError) as exc:
            raise Unreadable(f"checkpoint {number} cannot be read") from exc
        statement = checkpoint_statement.read(text)
        if statement is None:
            raise Unreadable(f"checkpoint {number} cannot be read")
        trust = signing.signature_trust(statement.key_id, text.encode(), signature, keys)
        if trust is signing.Trust.FORGED:
            raise Unreadable(f"the signature of checkpoint {number} is not good")
        if statement.tenant_id != manifest["tenant"]:
            raise Unreadable(f"checkpoint {number} is of another tenant's chain")
        _check_within_head(manifest, statement)
        if statement.sequence == head["sequence"] and statement.hash != head["hash"]:
            raise Unreadable(
                f"checkpoint {number} vouches for another record {statement.sequence} than the "
                "head that the manifest names"
            )
        if trust is not signing.Trust.KNOWN:
            continue
        if hashes.setdefault(statement.sequence, statement.hash) != statement.hash:
            raise Unreadable(
                f"two checkpoints of record {statement.sequence} contradict each other"
            )
    return hashes


def _check_within_head(manifest: dict[str, Any], statement: CheckpointStatement) -> None:
    """Refuse a checkpoint of a record that the exported chain did not have."""
    head = manifest["head"]["sequence"]
    if statement.sequence <= head:
        return
    beyond = (
        f"a checkpoint in it vouches for record {statement.sequence}, beyond the head that the "
        f"manifest names, record {head}"
    )
    created = _time(manifest, "createdAt")
    try:
        is_later = created is not None and datetime.fromisoformat(statement.at) > created
    except (ValueError, TypeError):
        is_later = False
    if is_later:
        # Version 0.1.0 could put one there, if the chain grew while it was exported.
        raise Unreadable(f"{beyond}: it was signed after the export was begun. Export again")
    raise Unreadable(
        f"{beyond}: the chain was longer when that was signed, and its end was cut off before the "
        "export"
    )


def _head_sequence(manifest: dict[str, Any]) -> int:
    """Return the number of the chain's last record when the export was made."""
    sequence, digest = (manifest["head"].get(name) for name in ("sequence", "hash"))
    if type(sequence) is not int or sequence < 0 or not isinstance(digest, str):
        raise Unreadable("the head that the manifest names cannot be read")
    return sequence


def _time(manifest: dict[str, Any], name: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(manifest[name]) if manifest[name] is not None else None
    except ValueError as exc:
        raise Unreadable(f"the manifest's {name} is no time") from exc
    if at is not None and at.tzinfo is None:
        raise Unreadable(f"the manifest's {name} names no time zone")
    return at
