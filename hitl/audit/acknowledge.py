"""Acknowledges records that stand outside a chain, so that it goes on behind them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from itertools import islice

from django.db import transaction
from django.db.models import Q

from dwp_project import clocks
from hitl.actors import Actor
from hitl.audit import breaks, checkpoint_reader, record, signing
from hitl.audit.breaks import AcknowledgedBreak, BreakCause, InsertedRecord, SkippedRecords
from hitl.audit.checkpoint_reader import SignedHeads
from hitl.audit.hashing import FIRST_SIGNED_FORM, GENESIS, hash_of
from hitl.audit.record_signatures import trust_of
from hitl.audit.signing import Trust
from hitl.errors import HeadDiffers, NothingToAcknowledge
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent

MAX_REASON_LENGTH = 1000
# Chosen: numbers up to so far behind the last good record are skipped. A record with the highest
# number there is leaves none to go on with.
_MAX_SKIPPED_AT_ONCE = 10_000
# Chosen: records read at once.
_BATCH_SIZE = 2000


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
        known = breaks.acknowledged(tenant_id, sequence)
        named = {inserted for each in known for inserted in each.outside}
        skipped, last = _skipped_behind(tenant_id, sequence)
        outside = _records_outside(tenant_id, last, named)
        head = (chain.last_sequence, chain.last_hash)
        if head == (sequence, digest) and not skipped.count and not outside:
            raise NothingToAcknowledge
        details = {
            "kind": BreakCause.INSERTED if head == (sequence, digest) else BreakCause.HEAD_CHANGED,
            "head": {"sequence": head[0], "hash": head[1][: breaks.HASH_LENGTH]},
            "after": sequence,
            "skipped": skipped.count,
            "skippedDigest": skipped.hexdigest(),
            "records": [asdict(each) for each in skipped.first],
            "outside": [asdict(each) for each in outside],
            "reason": reason[:MAX_REASON_LENGTH],
        }
        fact = record.Fact(
            AuditEvent.BREAK_ACKNOWLEDGED, actor, now or clocks.now(), details=details
        )
        entry = record.write_behind(chain, fact, last_hash=digest, number=last + 1)
    written = breaks.read(entry)
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
    gaps = {each.after: each for each in breaks.acknowledged(tenant_id, breaks.HIGHEST)}
    for entry in records.filter(sequence__gt=sequence).iterator(chunk_size=_BATCH_SIZE):
        gap = gaps.get(sequence)
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
    if entry.form >= FIRST_SIGNED_FORM and trust_of(entry, signing.trusted_keys()) is Trust.KNOWN:
        return True
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
    inserted = (breaks.inserted_record(entry) for entry in outside.iterator(chunk_size=_BATCH_SIZE))
    return list(islice((each for each in inserted if each not in named), breaks.MAX_NAMED))
