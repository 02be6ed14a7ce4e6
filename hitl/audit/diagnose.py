"""Says how a chain was changed, at the record where its verification fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _

from hitl.audit import breaks, record
from hitl.audit.breaks import AcknowledgedBreak, ChainWalk
from hitl.audit.checkpoint_reader import SignedHeads
from hitl.audit.hashing import facts, hash_of, hash_of_facts
from hitl.models import AuditChain, AuditRecord

# Chosen: how far from its place a record whose number was changed is searched for. Each step
# computes two hashes.
_MAX_DISTANCE = 10_000
# Chosen: how many records around a break are read to say what it is.
_WINDOW = 1000


class BreakKind(StrEnum):
    """What was done to a chain."""

    EDITED = "edited"
    REMOVED = "removed"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    # Edited, inserted or removed, with every later hash computed again.
    REWRITTEN = "rewritten"
    # A checkpoint that was not signed by the key it names.
    FORGED = "forged"
    # A record that no trusted key signed when it was written.
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first place where a chain does not hold."""

    tenant_id: str
    sequence: int
    kind: BreakKind
    why: str


def head_of(tenant_id: str) -> AuditChain:
    """Return the chain's head, or that of an empty chain."""
    return AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()


def diagnose_record(
    tenant_id: str, expected: int, entry: AuditRecord, head: AuditChain
) -> ChainBreak:
    """Say why `entry` stands where record `expected` should."""

    def broken(sequence: int, kind: BreakKind, why: str, **names: int) -> ChainBreak:
        return ChainBreak(tenant_id, sequence, kind, why % names)

    if entry.sequence > expected:
        return _diagnose_gap(tenant_id, expected, entry.sequence - 1)
    if entry.hash == hash_of(entry):
        return _diagnose_broken_link(tenant_id, expected, entry, head)
    if _is_of_another_tenant(entry):
        why = _("Record %(at)d was written for another tenant's chain.")
        return broken(expected, BreakKind.INSERTED, why, at=expected)
    original = _original_sequence(entry)
    if original is None:
        why = _("Record %(at)d does not say what it said when it was written.")
        return broken(expected, BreakKind.EDITED, why, at=expected)
    if original > expected:
        if any(_fits(other, expected) for other in _records_after(tenant_id, expected, original)):
            why = _("Record %(other)d stands in the place of record %(at)d.")
            return broken(expected, BreakKind.REORDERED, why, other=original, at=expected)
        why = _("Record %(at)d was removed and those after it were given new numbers.")
        return broken(expected, BreakKind.REMOVED, why, at=expected)
    if AuditRecord.objects.filter(tenant_id=tenant_id, sequence=original, hash=entry.hash).exists():
        why = _("Record %(at)d is a copy of record %(other)d.")
        return broken(expected, BreakKind.INSERTED, why, at=expected, other=original)
    why = _("Record %(at)d was inserted and those after it were given new numbers.")
    return broken(original, BreakKind.INSERTED, why, at=original)


def _diagnose_broken_link(
    tenant_id: str, expected: int, entry: AuditRecord, head: AuditChain
) -> ChainBreak:
    """Say which of two neighbours was rewritten, where each fits its own hash but not the other."""
    after = _hash_named_after(tenant_id, expected, head)
    at = expected - 1 if after == entry.hash and expected > 1 else expected
    why = _("Record %(at)d was rewritten, with a hash that fits it but not its neighbour.")
    return ChainBreak(tenant_id, at, BreakKind.EDITED, why % {"at": at})


def _hash_named_after(tenant_id: str, sequence: int, head: AuditChain) -> str:
    """Return the hash that the next record, or the head after the last, names for this one."""
    following = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=sequence + 1).first()
    return following.previous_hash if following else head.last_hash


def _diagnose_gap(tenant_id: str, first: int, last: int) -> ChainBreak:
    """Say whether records that are missing, with others after them, were moved or removed."""
    if number := _find_outside_chain(tenant_id, first):
        why = _("Record %(at)d stands at number %(other)d.")
        numbers = {"at": first, "other": number}
        return ChainBreak(tenant_id, first, BreakKind.REORDERED, why % numbers)
    why = (
        _("Record %(at)d is missing.")
        if first == last
        else _("Records %(at)d to %(to)d are missing.")
    )
    return ChainBreak(tenant_id, first, BreakKind.REMOVED, why % {"at": first, "to": last})


def find_truncation(
    tenant_id: str, expected: int, previous: str, head: AuditChain
) -> ChainBreak | None:
    """Return a break if the chain ends before its head, or with another record."""
    if expected <= head.last_sequence:
        if _find_outside_chain(tenant_id, expected):
            return _diagnose_gap(tenant_id, expected, head.last_sequence)
        why = _("The chain's end is cut off: records %(at)d to %(to)d are missing.")
        numbers = {"at": expected, "to": head.last_sequence}
        return ChainBreak(tenant_id, expected, BreakKind.TRUNCATED, why % numbers)
    if previous != head.last_hash:
        why = _("The last record, %(at)d, is not the one that the chain's head names.")
        return ChainBreak(tenant_id, expected - 1, BreakKind.EDITED, why % {"at": expected - 1})
    return None


def find_lost_signed_records(
    tenant_id: str, expected: int, heads: SignedHeads
) -> ChainBreak | None:
    """Return a break if a checkpoint vouches for a record that the chain no longer has."""
    if heads.last < expected:
        return None
    statement = heads.statements[heads.last][0]
    why = _(
        "The chain's end is cut off: a checkpoint signed at %(time)s vouches for record %(to)d, "
        "and the chain ends at %(last)d."
    )
    values = {"time": statement.at, "to": heads.last, "last": expected - 1}
    return ChainBreak(tenant_id, expected, BreakKind.TRUNCATED, why % values)


def diagnose_signed_record(entry: AuditRecord, head: AuditChain, heads: SignedHeads) -> ChainBreak:
    """Say why a record that fits its hash and its predecessor differs from its checkpoint."""
    tenant_id, sequence = entry.tenant_id, entry.sequence
    if _hash_named_after(tenant_id, sequence, head) != entry.hash:
        return _diagnose_broken_link(tenant_id, sequence, entry, head)
    before = max((number for number in heads.statements if number < sequence), default=0)
    why = _(
        "Record %(at)d is not the one a signed checkpoint vouches for: something after record "
        "%(before)d was changed, and all hashes from there on were made to fit."
    )
    numbers = {"at": sequence, "before": before}
    return ChainBreak(tenant_id, sequence, BreakKind.REWRITTEN, why % numbers)


def find_unsigned_record(
    entry: AuditRecord, head: AuditChain, acknowledged: Sequence[AcknowledgedBreak]
) -> ChainBreak | None:
    """Return a break at a record without a good signature; None if the chain does not go on from
    it, which the next step of the walk reports."""
    is_before_gap = any(each.after == entry.sequence for each in acknowledged)
    named = _hash_named_after(entry.tenant_id, entry.sequence, head)
    if named != entry.hash and not is_before_gap:
        return None
    why = _("Record %(at)d was not written by this deployment: it carries no good signature.")
    values = {"at": entry.sequence}
    return ChainBreak(entry.tenant_id, entry.sequence, BreakKind.UNSIGNED, why % values)


def find_records_outside_chain(
    tenant_id: str, head: AuditChain, acknowledged: Sequence[AcknowledgedBreak]
) -> ChainBreak | None:
    """Return a break if a record stands before the chain's first or behind its head, and no break
    that was acknowledged names it. `head` is the one to which the chain was walked."""
    at = breaks.find_unacknowledged(tenant_id, head, acknowledged)
    if at is None:
        return None
    why = (
        _("Record %(at)d stands before the chain's first.")
        if at < 1
        else _(
            "Record %(at)d stands behind the chain's head: it was inserted, or the head was set "
            "back."
        )
    )
    return ChainBreak(tenant_id, at, BreakKind.INSERTED, why % {"at": at})


def find_other_skipped(walk: ChainWalk, tenant_id: str) -> ChainBreak | None:
    """Return a break if the walk ended because the records that an acknowledged break skips are
    not those that it names."""
    if walk.differing is None:
        return None
    acknowledged_break, count = walk.differing
    kind = (
        BreakKind.EDITED
        if count == acknowledged_break.skipped
        else BreakKind.INSERTED
        if count > acknowledged_break.skipped
        else BreakKind.REMOVED
    )
    why = _(
        "The records behind record %(at)d are not those that record %(by)d acknowledges as "
        "inserted."
    )
    values = {"at": acknowledged_break.after, "by": acknowledged_break.sequence}
    return ChainBreak(tenant_id, acknowledged_break.after + 1, kind, why % values)


def find_skipped_signed_record(
    tenant_id: str, acknowledged: Sequence[AcknowledgedBreak], heads: SignedHeads
) -> ChainBreak | None:
    """Return a break if a checkpoint vouches for a record that an acknowledged break skips."""
    for each in acknowledged:
        signed = [number for number in heads.statements if each.after < number < each.sequence]
        if signed:
            why = _(
                "A signed checkpoint vouches for record %(at)d, which record %(by)d acknowledges "
                "as inserted."
            )
            values = {"at": min(signed), "by": each.sequence}
            return ChainBreak(tenant_id, min(signed), BreakKind.REWRITTEN, why % values)
    return None


def find_forged_checkpoint(tenant_id: str, heads: SignedHeads) -> ChainBreak | None:
    """Return a break if a checkpoint is not signed by the trusted key it names."""
    if heads.forged is None:
        return None
    sequence, where = heads.forged
    why = _("The checkpoint of record %(at)d in %(where)s was changed: its signature is not good.")
    return ChainBreak(tenant_id, sequence, BreakKind.FORGED, why % {"at": sequence, "where": where})


# --- records at other places ------------------------------------------------------------


def _fits(entry: AuditRecord, sequence: int) -> bool:
    """Say whether the record has the hash that it would have at another number."""
    return hash_of_facts({**facts(entry), "sequence": sequence}) == entry.hash


def _original_sequence(entry: AuditRecord) -> int | None:
    """Return the nearest number at which the record fits its hash; None if something else than
    its number was changed."""
    for distance in range(1, _MAX_DISTANCE):
        for sequence in (entry.sequence + distance, entry.sequence - distance):
            if sequence > 0 and _fits(entry, sequence):
                return sequence
    return None


def _records_after(tenant_id: str, sequence: int, other: int) -> list[AuditRecord]:
    """Return the record at `other`, and then those after `sequence`."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id).order_by("sequence")
    return [*records.filter(sequence=other), *records.filter(sequence__gt=sequence)[:_WINDOW]]


def _find_outside_chain(tenant_id: str, sequence: int) -> int | None:
    """Return the number at which record `sequence` stands, near the chain's ends or outside."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id).order_by("sequence")
    ends = [*records.filter(sequence__lt=1)[:_WINDOW], *records.reverse()[:_WINDOW]]
    return next((entry.sequence for entry in ends if _fits(entry, sequence)), None)


def _is_of_another_tenant(entry: AuditRecord) -> bool:
    values = facts(entry)
    return any(
        hash_of_facts({**values, "tenant": other}) == entry.hash
        for other in record.tenants()
        if other != entry.tenant_id
    )
