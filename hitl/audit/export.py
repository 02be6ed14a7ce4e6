"""Exports a contiguous piece of a chain as a signed file, piece by piece."""

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
from django.db.models import Max, Min
from django.utils import timezone

from dwp_project.jsontext import canonical
from hitl.actors import Actor
from hitl.audit import checkpoint_files, export_format, record, signing
from hitl.audit.export_format import Format
from hitl.audit.hashing import facts
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from hitl.states import AuditEvent

_BATCH_SIZE = 1000
# By how many numbers the order of times may differ from the order of records.
_MAX_DISORDER = 10_000
# How many of the checkpoints inside the exported piece go with it, the newest of them.
_MAX_CHECKPOINTS = 100


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written: records `first` to `last`, none if `last` is 0."""

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

    @property
    def file_name(self) -> str:
        """A name for the download, of safe characters."""
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
    """Choose what a range of time covers of the actor's chain, and audit that it is exported.

    The piece goes from the lowest to the highest number whose record is of that time, `since`
    and `until` included, so that it is one stretch of the chain. Nothing is read before the
    audit record is committed.
    """
    signing.signing_key()  # a key that cannot be used is told now, not half-way
    now = now or timezone.now()
    tenant_id = actor.tenant_id
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    first, last = _span(tenant_id, head.last_sequence, since, until)
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


def _span(
    tenant_id: str, head: int, since: datetime | None, until: datetime | None
) -> tuple[int, int]:
    """Return the lowest and the highest number of a time, up to the head; zeros if there is none.

    Without a beginning or an end in time it is the chain's own, whatever its records say of
    theirs: a host's clock may have been wrong. Otherwise numbers and times rise together but for
    those who waited for the chain meanwhile: the record of the earliest time is found by index,
    and one of a lower number is at most so far from it. An aggregate would read all of the range,
    or everything before it.
    """
    records = AuditRecord.objects.filter(tenant_id=tenant_id, sequence__lte=head)
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
    """Yield the bytes of the file. Each step reads one piece by index and holds no more.

    Steps may be made on different threads; between them nothing is open in the database.
    """
    key = signing.signing_key()
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        digest, count, last_hash, first_link = sha256(), 0, "", ""
        name = export_format.content_name(export.form)
        with archive.open(_zip_info(name, export), "w", force_zip64=True) as content:
            digest.update(head := export_format.heading(export.form))
            content.write(head)
            for records in _batches(export):
                raw = b"".join(
                    export_format.line({**facts(entry), "hash": entry.hash}, export.form)
                    for entry in records
                )
                first_link = first_link or records[0].previous_hash
                last_hash, count = records[-1].hash, count + len(records)
                digest.update(raw)
                content.write(raw)
                yield sink.take()
        manifest = canonical(
            {
                **_describe(export),
                "records": count,
                "sha256": digest.hexdigest(),
                "previousHash": first_link,
                "lastHash": last_hash,
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
    return {
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
    while after < export.last:
        rows = AuditRecord.objects.filter(
            tenant_id=export.tenant_id, sequence__gt=after, sequence__lte=export.last
        )
        records = list(rows.order_by("sequence")[:_BATCH_SIZE])
        if not records:
            return
        yield records
        after = records[-1].sequence


def _checkpoints(export: Export) -> list[dict[str, str]]:
    """Return the newest checkpoints of exported records, and the first one after them."""
    checkpoints = AuditCheckpoint.objects.filter(
        tenant_id=export.tenant_id, sequence__gte=export.first
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


class _Sink(io.RawIOBase):
    """Collects what the archive writes until it is taken; cannot be read or sought in, so that
    the archive never needs what has been sent."""

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
