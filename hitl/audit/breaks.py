"""Acknowledged breaks: records that stand outside a chain, and how the chain goes on behind them.

A record that somebody inserted cannot be removed, because nothing is. A record that acknowledges it
(`hitl.audit.acknowledge`) follows the last good one, has a number behind it, and names it for ever.
Verification walks from the last good record to that one, if what it names is what stands between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from enum import StrEnum
from hashlib import sha256
from typing import Any

from django.db.models import QuerySet

from hitl.audit import checkpoint_trust, signing
from hitl.audit.hashing import GENESIS, hash_of
from hitl.audit.record_signatures import trust_of
from hitl.audit.signing import Trust
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent

# Chosen: so many inserted records are named one by one, so that the record that names them stays
# small.
MAX_NAMED = 100
# Chosen: records read at once.
_BATCH_SIZE = 2000
# The longest hash, and the highest number, that the database's columns are made for.
HASH_LENGTH = 64
HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class InsertedRecord:
    """A record outside the chain: its number, the hash it states, and the one it should have."""

    sequence: int
    hash: str
    digest: str


class BreakCause(StrEnum):
    """What was done to a chain that goes on behind an acknowledged break."""

    INSERTED = "inserted"
    # The head was not the last record of the chain, with or without inserted records.
    HEAD_CHANGED = "head_changed"


@dataclass(frozen=True, slots=True)
class AcknowledgedBreak:
    """A place where the chain goes on behind inserted records."""

    kind: BreakCause
    # The number that the chain's head named.
    head: int
    # The record that acknowledges them, and the last one before them.
    sequence: int
    after: int
    # The inserted records between the two: how many, and a digest over all of them.
    skipped: int
    skipped_digest: str
    # The first of those, and inserted records that stand elsewhere.
    records: tuple[InsertedRecord, ...]
    outside: tuple[InsertedRecord, ...]
    reason: str
    at: str
    actor: str

    def is_outside(self, sequence: int) -> bool:
        """Say whether this break leaves the record of this number outside the chain."""
        is_skipped = self.after < sequence < self.sequence
        return is_skipped or any(each.sequence == sequence for each in self.outside)

    def as_json(self) -> dict[str, Any]:
        """Return it as the JSON object that verification prints."""
        return {
            "kind": self.kind,
            "head": self.head,
            "sequence": self.sequence,
            "after": self.after,
            "skipped": self.skipped,
            "records": [asdict(each) for each in self.records],
            "outside": [asdict(each) for each in self.outside],
            "reason": self.reason,
            "at": self.at,
            "actor": self.actor,
        }


def acknowledged(tenant_id: str, last: int) -> list[AcknowledgedBreak]:
    """Return the acknowledged breaks of a chain up to record `last`, in its order.

    Only of records that a trusted key signed, or a trusted checkpoint vouches for; whether these
    are in the chain verification says.
    """
    keys = signing.trusted_keys()
    records = AuditRecord.objects.filter(
        tenant_id=tenant_id,
        event=AuditEvent.BREAK_ACKNOWLEDGED,
        sequence__range=(1, last),
    )
    breaks: list[AcknowledgedBreak] = []
    # The last one is in the chain; one that it skips is not.
    for entry in records.order_by("-sequence"):
        trust = trust_of(entry, keys)
        is_ours = trust is Trust.KNOWN or (
            trust is Trust.UNKNOWN and entry.sequence <= checkpoint_trust.vouched(tenant_id)
        )
        each = read(entry) if is_ours else None
        if each is not None and not (breaks and entry.sequence > breaks[-1].after):
            breaks.append(each)
    return breaks[::-1]


def chain_records(tenant_id: str, breaks: Iterable[AcknowledgedBreak]) -> QuerySet[AuditRecord]:
    """Return the tenant's records without those that acknowledged breaks skip."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    for each in breaks:
        records = records.exclude(sequence__gt=each.after, sequence__lt=each.sequence)
    return records


def own_records(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Return the records without those that acknowledged breaks skip or name: they say nothing."""
    records = list(records)
    breaks = {
        tenant_id: acknowledged(tenant_id, HIGHEST)
        for tenant_id in {entry.tenant_id for entry in records}
    }
    return [
        entry
        for entry in records
        if not any(each.is_outside(entry.sequence) for each in breaks[entry.tenant_id])
    ]


class SkippedRecords:
    """Inserted records between two records of the chain, digested in the order of their numbers."""

    def __init__(self) -> None:
        self._digest = sha256()
        self.count = 0
        self.first: list[InsertedRecord] = []

    def add(self, entry: AuditRecord) -> None:
        """Add the next one."""
        inserted = inserted_record(entry)
        self._digest.update(f"{inserted.sequence}:{inserted.hash}:{inserted.digest}\n".encode())
        self.count += 1
        if len(self.first) < MAX_NAMED:
            self.first.append(inserted)

    def hexdigest(self) -> str:
        """Return the digest of all that were added."""
        return self._digest.hexdigest()


class ChainWalk:
    """Follows a chain from its first record, across acknowledged breaks."""

    def __init__(self, breaks: Iterable[AcknowledgedBreak]) -> None:
        self._breaks = {each.after + 1: each for each in breaks}
        self._skipped = SkippedRecords()
        self.expected, self.previous, self.count = 1, GENESIS, 0
        # The break whose records are not those that it names.
        self.differing: tuple[AcknowledgedBreak, int] | None = None

    def skips(self, entry: AuditRecord) -> bool:
        """Say whether an acknowledged break may skip this record, and remember it if so."""
        gap = self._breaks.get(self.expected)
        if gap is None or entry.sequence >= gap.sequence:
            return False
        self._skipped.add(entry)
        return True

    def follows(self, entry: AuditRecord) -> bool:
        """Say whether the record is the next one of the chain, and go on to it if so."""
        gap = self._breaks.get(self.expected)
        if gap is not None and entry.sequence == gap.sequence:
            skipped, self._skipped = self._skipped, SkippedRecords()
            if (skipped.count, skipped.hexdigest()) != (gap.skipped, gap.skipped_digest):
                self.differing = (gap, skipped.count)
                return False
            self.expected = gap.sequence
        if (
            entry.sequence != self.expected
            or entry.previous_hash != self.previous
            or entry.hash != hash_of(entry)
        ):
            return False
        self.expected, self.previous, self.count = entry.sequence + 1, entry.hash, self.count + 1
        return True


def find_unacknowledged(
    tenant_id: str, head: AuditChain, breaks: Sequence[AcknowledgedBreak]
) -> int | None:
    """Return the lowest number of a record before the chain's first or behind its head that no
    break names; None without any. `head` is as it was before: records may be written meanwhile."""
    named = {inserted for each in breaks for inserted in each.outside}
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    # One more than are named, from each end: if others are there, one of them is among these.
    ends = [
        *records.filter(sequence__lt=1).order_by("sequence")[: len(named) + 1],
        *records.filter(sequence__gt=head.last_sequence).order_by("-sequence")[: len(named) + 1],
    ]
    # Read after the records: a record and the head that counts it commit together.
    chain = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    others = [
        entry.sequence
        for entry in ends
        if not 1 <= entry.sequence <= chain.last_sequence and inserted_record(entry) not in named
    ]
    if not others:
        return None
    if min(others) < 1:
        return min(others)
    behind = records.filter(sequence__gt=chain.last_sequence).order_by("sequence")
    for entry in behind.iterator(chunk_size=_BATCH_SIZE):
        if inserted_record(entry) not in named:
            return entry.sequence
    return min(others)


def inserted_record(entry: AuditRecord) -> InsertedRecord:
    return InsertedRecord(entry.sequence, entry.hash[:HASH_LENGTH], hash_of(entry))


def read(entry: AuditRecord) -> AcknowledgedBreak | None:
    """Return what a record acknowledges; None if it cannot be read."""
    try:
        details = json.loads(entry.details)
        acknowledged_break = AcknowledgedBreak(
            kind=BreakCause(details["kind"]),
            head=int(details["head"]["sequence"]),
            sequence=entry.sequence,
            after=int(details["after"]),
            skipped=int(details["skipped"]),
            skipped_digest=str(details["skippedDigest"]),
            records=tuple(InsertedRecord(**each) for each in details["records"]),
            outside=tuple(InsertedRecord(**each) for each in details["outside"]),
            reason=str(details["reason"]),
            at=entry.at.astimezone(UTC).isoformat(timespec="seconds"),
            actor=entry.actor,
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    return acknowledged_break if 0 <= acknowledged_break.after < entry.sequence else None
