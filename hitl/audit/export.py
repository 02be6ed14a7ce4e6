"""Chooses the contiguous part of a chain that is exported, and records that it is.

`hitl.audit.export_file` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Min, QuerySet

from dwp_project import clocks
from hitl.actors import Actor
from hitl.audit import (
    breaks,
    checkpoint_files,
    checkpoint_trust,
    record,
    signing,
)
from hitl.audit.breaks import AcknowledgedBreak
from hitl.audit.export_format import Format
from hitl.audit.hashing import exact
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent

# Chosen: by how many numbers the order of times may differ from the order of records.
_MAX_DISORDER = 10_000


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
    now = now or clocks.now()
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
        "from": iso(since),
        "to": iso(until),
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


def iso(at: datetime | None) -> str | None:
    return exact(at) if at else None
