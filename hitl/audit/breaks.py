"""Acknowledged breaks: records that stand outside a chain, and how the chain goes on behind them.

A record that somebody inserted cannot be removed, because nothing is. `acknowledge` writes a record
that follows the last good one, has a number behind the inserted records, and names them for ever.
Verification walks from the last good record to that one, if what it names is what stands between.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from hitl.actors import Actor
from hitl.audit import checkpoint_reader, record
from hitl.audit.checkpoint_reader import SignedHeads
from hitl.audit.hashing import GENESIS, hash_of
from hitl.errors import HeadDiffers, NothingToAcknowledge
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent

MAX_REASON_LENGTH = 1000
# Chosen: numbers up to so far behind the last good record are skipped. A record with the highest
# number there is leaves none to go on with.
_MAX_SKIPPED_AT_ONCE = 10_000
# Chosen: so many inserted records are named one by one, so that the record that names them stays
# small.
_MAX_NAMED = 100
# Chosen: records read at once.
_BATCH_SIZE = 2000
# The longest hash, and the highest number, that the database's columns are made for.
_HASH_LENGTH = 64
_HIGHEST = 2**63 - 1


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

    They are what records say that may themselves be inserted; verification says whether they hold.
    """
    records = AuditRecord.objects.filter(
        tenant_id=tenant_id,
        event=AuditEvent.BREAK_ACKNOWLEDGED,
        sequence__range=(1, last),
    )
    breaks: list[AcknowledgedBreak] = []
    # The last one is in the chain; one that it skips is not.
    for entry in records.order_by("-sequence"):
        read = _read(entry)
        if read is not None and not (breaks and entry.sequence > breaks[-1].after):
            breaks.append(read)
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
        tenant_id: acknowledged(tenant_id, _HIGHEST)
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
        inserted = _inserted(entry)
        self._digest.update(f"{inserted.sequence}:{inserted.hash}:{inserted.digest}\n".encode())
        self.count += 1
        if len(self.first) < _MAX_NAMED:
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
        if not 1 <= entry.sequence <= chain.last_sequence and _inserted(entry) not in named
    ]
    if not others:
        return None
    if min(others) < 1:
        return min(others)
    behind = records.filter(sequence__gt=chain.last_sequence).order_by("sequence")
    for entry in behind.iterator(chunk_size=_BATCH_SIZE):
        if _inserted(entry) not in named:
            return entry.sequence
    return min(others)


def acknowledge(actor: Actor, reason: str, *, now: datetime | None = None) -> AcknowledgedBreak:
    """Write the record behind which the chain of the actor's tenant goes on, and return it.

    Nothing is changed or removed. Records behind the head that signed checkpoints vouch for are the
    chain's own, because its head was set back: they stay in it. Raises `NothingToAcknowledge`, and
    `HeadDiffers` if a signed record is missing.
    """
    tenant_id = actor.tenant_id
    with transaction.atomic():
        chain = record.lock_chain(tenant_id)
        sequence, digest = _last_good(chain)
        breaks = acknowledged(tenant_id, sequence)
        named = {inserted for each in breaks for inserted in each.outside}
        skipped, last = _skipped_behind(tenant_id, sequence)
        outside = _records_outside(tenant_id, last, named)
        head = (chain.last_sequence, chain.last_hash)
        if head == (sequence, digest) and not skipped.count and not outside:
            raise NothingToAcknowledge
        details = {
            "kind": BreakCause.INSERTED if head == (sequence, digest) else BreakCause.HEAD_CHANGED,
            "head": {"sequence": head[0], "hash": head[1][:_HASH_LENGTH]},
            "after": sequence,
            "skipped": skipped.count,
            "skippedDigest": skipped.hexdigest(),
            "records": [asdict(each) for each in skipped.first],
            "outside": [asdict(each) for each in outside],
            "reason": reason[:MAX_REASON_LENGTH],
        }
        fact = record.Fact(
            AuditEvent.BREAK_ACKNOWLEDGED, actor, now or timezone.now(), details=details
        )
        entry = record.write_behind(chain, fact, last_hash=digest, number=last + 1)
    written = _read(entry)
    assert written is not None
    return written


def _last_good(chain: AuditChain) -> tuple[int, str]:
    """Return number and hash of the last record that is certainly the chain's own.

    Up to the head that is each record that fits the one before, from the last one that a checkpoint
    vouches for; beyond it only what is vouched for. Raises `HeadDiffers` where a signed record is
    missing.
    """
    tenant_id = chain.tenant_id
    heads = checkpoint_reader.read_signed_heads(tenant_id)
    records = AuditRecord.objects.filter(tenant_id=tenant_id).order_by("sequence")
    sequence, digest = good = (0, GENESIS)
    signed = [number for number in heads.statements if number <= chain.last_sequence]
    if signed:
        sequence = max(signed)
        digest = heads.statements[sequence][0].hash
        if not records.filter(sequence=sequence, hash=digest).exists():
            raise HeadDiffers
        good = (sequence, digest)
    breaks = {each.after: each for each in acknowledged(tenant_id, _HIGHEST)}
    for entry in records.filter(sequence__gt=sequence).iterator(chunk_size=_BATCH_SIZE):
        gap = breaks.get(sequence)
        is_next = entry.sequence == sequence + 1 or (gap and entry.sequence == gap.sequence)
        if is_next and entry.previous_hash == digest and entry.hash == hash_of(entry):
            sequence, digest = entry.sequence, entry.hash
            if sequence <= chain.last_sequence or _is_vouched_for(entry, heads):
                good = (sequence, digest)
        elif gap is None or entry.sequence >= gap.sequence:
            break
    if heads.last > good[0]:
        raise HeadDiffers
    return good


def _is_vouched_for(entry: AuditRecord, heads: SignedHeads) -> bool:
    """Say whether something that SQL alone cannot make vouches for this record."""
    statements = heads.statements.get(entry.sequence, ())
    return any(statement.hash == entry.hash for statement in statements)


def _skipped_behind(tenant_id: str, sequence: int) -> tuple[SkippedRecords, int]:
    """Return the records that stand behind record `sequence`, each close to the one before, and
    the number of the last of them."""
    skipped = SkippedRecords()
    records = AuditRecord.objects.filter(tenant_id=tenant_id, sequence__gt=sequence)
    for entry in records.order_by("sequence").iterator(chunk_size=_BATCH_SIZE):
        if entry.sequence - sequence > _MAX_SKIPPED_AT_ONCE:
            break
        skipped.add(entry)
        sequence = entry.sequence
    return skipped, sequence


def _records_outside(
    tenant_id: str, last: int, named: Collection[InsertedRecord]
) -> list[InsertedRecord]:
    """Return the first records before the chain's first and behind `last` that no break names."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id).order_by("sequence")
    outside = records.filter(Q(sequence__lt=1) | Q(sequence__gt=last))
    inserted = (_inserted(entry) for entry in outside.iterator(chunk_size=_BATCH_SIZE))
    return list(islice((each for each in inserted if each not in named), _MAX_NAMED))


def _inserted(entry: AuditRecord) -> InsertedRecord:
    return InsertedRecord(entry.sequence, entry.hash[:_HASH_LENGTH], hash_of(entry))


def _read(entry: AuditRecord) -> AcknowledgedBreak | None:
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
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return acknowledged_break if 0 <= acknowledged_break.after < entry.sequence else None
