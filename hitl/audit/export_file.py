"""Writes an export as a signed ZIP file, chunk by chunk."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC
from hashlib import sha256
from typing import Any

from dwp_project.jsontext import canonical
from hitl.audit import breaks, export_format, signing
from hitl.audit.export import Export, iso
from hitl.audit.hashing import GENESIS, facts, hash_of_facts
from hitl.errors import ChainBroken
from hitl.models import AuditCheckpoint, AuditRecord

# Chosen: records read at once, which one chunk of the file holds.
_BATCH_SIZE = 1000
# Chosen: how many checkpoints of exported records go along, so that the manifest stays small
# (verify_export reads at most 1 MiB of it).
_MAX_CHECKPOINTS = 100


def zip_chunks(export: Export) -> Iterator[bytes]:
    """Yield the bytes of the file. Each step reads one batch by index and keeps only that.

    Steps may run on different threads: nothing stays open in the database between them. Raises
    `ChainBroken` at a record that does not fit; what was yielded until then is no whole file.
    """
    key = signing.signing_key()
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        digest, links = sha256(), _Links(export)
        name = export_format.content_name(export.form)
        with archive.open(_zip_info(name, export), "w", force_zip64=True) as content:
            digest.update(head := export_format.heading(export.form))
            content.write(head)
            for records in _batches(export):
                raw = b"".join(
                    export_format.line({**links.checked(entry), "hash": entry.hash}, export.form)
                    for entry in records
                )
                digest.update(raw)
                content.write(raw)
                yield sink.take()
        links.check_end()
        manifest = canonical(
            {
                **_describe(export),
                "records": links.count,
                "sha256": digest.hexdigest(),
                "previousHash": links.first_link,
                "lastHash": links.last_hash,
                "checkpoints": _checkpoints(export),
                "keyId": key.key_id,
                "publicKey": base64.b64encode(key.public).decode("ascii"),
            }
        ).encode()
        archive.writestr(_zip_info(export_format.MANIFEST, export), manifest)
        signature = key.sign(manifest).encode("ascii")
        archive.writestr(_zip_info(export_format.SIGNATURE, export), signature)
    yield sink.take()


def _describe(export: Export) -> dict[str, Any]:
    skipping = [
        {"after": each.after, "sequence": each.sequence}
        for each in export.breaks
        if each.sequence > each.after + 1
    ]
    return {
        **({export_format.BREAKS: skipping} if skipping else {}),
        "kind": export_format.KIND,
        "form": export_format.FORM,
        "tenant": export.tenant_id,
        "format": export.form.value,
        "content": export_format.content_name(export.form),
        "from": iso(export.since),
        "to": iso(export.until),
        "firstSequence": export.first,
        "lastSequence": export.last,
        "head": {"sequence": export.head_sequence, "hash": export.head_hash},
        "createdAt": iso(export.created_at),
        "createdBy": export.created_by,
    }


def _batches(export: Export) -> Iterator[list[AuditRecord]]:
    after = export.first - 1
    chain = breaks.chain_records(export.tenant_id, export.breaks)
    while after < export.last:
        rows = chain.filter(sequence__gt=after, sequence__lte=export.last)
        records = list(rows.order_by("sequence")[:_BATCH_SIZE])
        if not records:
            return
        yield records
        after = records[-1].sequence


def _checkpoints(export: Export) -> list[dict[str, str]]:
    """Return the newest checkpoints of exported records, and the first one after them.

    None beyond the head of the export: one that was signed meanwhile would look as if the chain
    had been longer before.
    """
    checkpoints = AuditCheckpoint.objects.filter(
        tenant_id=export.tenant_id, sequence__range=(export.first, export.head_sequence)
    )
    inside = checkpoints.filter(sequence__lte=export.last).order_by("-sequence")[:_MAX_CHECKPOINTS]
    after = checkpoints.filter(sequence__gt=export.last).order_by("sequence")[:1]
    return [
        {"statement": row.statement, "signature": row.signature}
        for row in [*reversed(inside), *after]
    ]


def _zip_info(name: str, export: Export) -> zipfile.ZipInfo:
    at = export.created_at.astimezone(UTC)
    info = zipfile.ZipInfo(name, (max(1980, at.year), *at.timetuple()[1:6]))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


class _Links:
    """Checks, while records are exported, that each follows the one before it."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._expected = export.first
        self._breaks = {each.after + 1: each for each in export.breaks}
        self.count = 0
        self.first_link = self.last_hash = ""

    def checked(self, entry: AuditRecord) -> dict[str, Any]:
        """Return the record's facts; raises `ChainBroken` if it does not fit its hash or its
        place."""
        if self.count == 0:
            self.first_link = GENESIS if entry.sequence == 1 else entry.previous_hash
            self.last_hash = self.first_link
        gap = self._breaks.get(self._expected)
        if gap is not None and entry.sequence == gap.sequence:
            self._expected = gap.sequence
        values = facts(entry)
        if (
            entry.sequence != self._expected
            or entry.previous_hash != self.last_hash
            or entry.hash != hash_of_facts(values)
        ):
            raise ChainBroken(self._expected)
        self.count, self._expected, self.last_hash = self.count + 1, entry.sequence + 1, entry.hash
        return values

    def check_end(self) -> None:
        """Raise `ChainBroken` unless the last record was the export's last."""
        export = self._export
        if export.last and self._expected != export.last + 1:
            raise ChainBroken(self._expected)
        is_to_head = bool(export.last) and export.last == export.head_sequence
        if is_to_head and self.last_hash != export.head_hash:
            raise ChainBroken(export.last)


class _Sink(io.RawIOBase):
    """Collects what the archive writes until it is taken. It can be neither read nor sought in,
    so that the archive never goes back to what was sent."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken
