"""Exports a contiguous part of a chain as a signed file, chunk by chunk."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from dwp_project.jsontext import canonical
from hitl.actors import Actor
from hitl.audit import (
    breaks,
    checkpoint_files,
    checkpoint_trust,
    export_format,
    record,
    signing,
)
from hitl.audit.breaks import AcknowledgedBreak
from hitl.audit.export_format import Format
from hitl.audit.hashing import GENESIS, facts, hash_of_facts
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from hitl.states import AuditEvent

# Chosen: records read at once, which one chunk of the file holds.
_BATCH_SIZE = 1000
# Chosen: by how many numbers the order of times may differ from the order of records.
_MAX_DISORDER = 10_000
# Chosen: how many checkpoints of exported records go along, so that the manifest stays small
# (verify_export reads at most 1 MiB of it).
_MAX_CHECKPOINTS = 100


@dataclass(frozen=True, slots=True)
class Export:
    """What an export contains: records `first` to `last`, none if `last` is 0."""

    tenant_id: str
    form: Format
    since: datetime | None
    until: datetime | None
    first: int
    last: int
    head_sequence: int
    head_hash: str
    created_at: datetime
    created_by: str
    # Within it; the chain goes on behind records that are not exported.
    breaks: tuple[AcknowledgedBreak, ...] = ()

    @property
    def file_name(self) -> str:
        """The name of the downloaded file, of safe characters."""
        stem = checkpoint_files.file_of(self.tenant_id).stem.rsplit("-", 1)[0]
        return f"audit-{stem}-{self.first}-{self.last}.{self.form.value}.zip"


def begin(
    actor: Actor,
    form: Format,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
) -> Export:
    """Choose the records of the actor's chain in a range of time, and record the export.

    They go from the lowest to the highest number whose record is in the range, `since` and `until`
    included, without a gap. No record is read before the record of the export is committed.
    Raises `ChainBroken` where the chain does not hold.
    """
    signing.signing_key()  # raises now, not in the middle of the file, if the key cannot be used
    now = now or timezone.now()
    tenant_id = actor.tenant_id
    head, acknowledged = _find_head(tenant_id)
    records = breaks.chain_records(tenant_id, acknowledged)
    first, last = _span(records, head.last_sequence, since, until)
    export = Export(
        tenant_id=tenant_id,
        form=form,
        since=since,
        until=until,
        first=first,
        last=last,
        head_sequence=head.last_sequence,
        head_hash=head.last_hash,
        created_at=now,
        created_by=actor.id,
        breaks=tuple(
            each for each in acknowledged if first <= each.after and each.sequence <= last
        ),
    )
    details = {
        "format": form.value,
        "from": _iso(since),
        "to": _iso(until),
        "firstSequence": export.first,
        "lastSequence": export.last,
    }
    with transaction.atomic():
        record.write(AuditEvent.AUDIT_EXPORTED, actor, now, details=details)
    return export


def _find_head(tenant_id: str) -> tuple[AuditChain, list[AcknowledgedBreak]]:
    """Return the chain's head, or that of an empty chain, and the chain's acknowledged breaks.

    Raises `ChainBroken` if a signed checkpoint or a record that no break names is beyond the head,
    or if its record is not the one it names. Reads little: what is between first record and head is
    read while it is exported.
    """
    # Read before the head: what is signed was committed before.
    newest = checkpoint_trust.newest_statement(tenant_id)
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    end = head.last_sequence
    acknowledged = breaks.acknowledged(tenant_id, end)
    other = breaks.find_unacknowledged(tenant_id, head, acknowledged)
    if (newest is not None and newest.sequence > end) or (other is not None and other > end):
        raise ChainBroken(end + 1)
    records = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=end, hash=head.last_hash)
    if end and not records.exists():
        raise ChainBroken(end)
    return head, acknowledged


def _span(
    records: QuerySet[AuditRecord], head: int, since: datetime | None, until: datetime | None
) -> tuple[int, int]:
    """Return the lowest and the highest number in a range of time, up to the head; zeros if none.

    Without a beginning or an end in time it is the chain's own, whatever times the records have:
    a host's clock may have been wrong. Otherwise numbers and times rise together, except for
    writers who waited for the chain: the record of the earliest time comes from an index, and one
    with a lower number is at most `_MAX_DISORDER` away. An aggregate would read the whole range,
    or everything before it.
    """
    records = records.filter(sequence__range=(1, head))
    records = records.filter(at__gte=since) if since else records
    records = records.filter(at__lte=until) if until else records
    numbers = records.values_list("sequence", flat=True)
    earliest = numbers.order_by("at", "sequence").first()
    latest = numbers.order_by("-at", "-sequence").first()
    if earliest is None or latest is None:
        return 0, 0
    before = records.filter(sequence__range=(earliest - _MAX_DISORDER, earliest)).order_by()
    after = records.filter(sequence__range=(latest, latest + _MAX_DISORDER)).order_by()
    return (
        before.aggregate(first=Min("sequence"))["first"] if since else 1,
        after.aggregate(last=Max("sequence"))["last"] if until else head,
    )


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
        "from": _iso(export.since),
        "to": _iso(export.until),
        "firstSequence": export.first,
        "lastSequence": export.last,
        "head": {"sequence": export.head_sequence, "hash": export.head_hash},
        "createdAt": _iso(export.created_at),
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


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else None


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
