"""Refuses to export a chain that does not hold where it is to be exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from hitl.audit import breaks, checkpoint_files, checkpoint_statement, signing
from hitl.audit.breaks import AcknowledgedBreak
from hitl.audit.signing import Trust
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord

# Chosen: so many of the newest checkpoints are read for one that is signed by a trusted key.
_MAX_CHECKPOINTS = 100
# Chosen: so many records are counted by one statement.
_STRETCH = 10_000


def find_head(tenant_id: str) -> tuple[AuditChain, list[AcknowledgedBreak]]:
    """Return the chain's head, or that of an empty chain, and the chain's acknowledged breaks.

    Raises `ChainBroken` if a signed checkpoint or a record that no break names is beyond the head,
    or if its record is not the one it names. Reads little: what is between first record and head is
    read while it is exported.
    """
    # Read before the head: what is signed was committed before.
    signed = _newest_signed(tenant_id)
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    end = head.last_sequence
    acknowledged = breaks.acknowledged(tenant_id, end)
    other = breaks.find_unacknowledged(tenant_id, head, acknowledged)
    if signed > end or (other is not None and other > end):
        raise ChainBroken(end + 1)
    records = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=end, hash=head.last_hash)
    if end and not records.exists():
        raise ChainBroken(end)
    return head, acknowledged


def check_span(
    tenant_id: str, first: int, last: int, acknowledged: Sequence[AcknowledgedBreak]
) -> None:
    """Raise `ChainBroken` if one of the chain's records `first` to `last` is missing."""
    records = breaks.chain_records(tenant_id, acknowledged)

    def is_complete(start: int, end: int) -> bool:
        skipped = (
            min(end, each.sequence - 1) - max(start, each.after + 1) + 1 for each in acknowledged
        )
        expected = end - start + 1 - sum(max(0, count) for count in skipped)
        return records.filter(sequence__range=(start, end)).count() == expected

    for start in range(first, last + 1, _STRETCH) if last else ():
        end = min(last, start + _STRETCH - 1)
        if not is_complete(start, end):
            raise ChainBroken(_first_missing(is_complete, start, end))


def _first_missing(is_complete: Callable[[int, int], bool], first: int, last: int) -> int:
    """Return the number of the first missing record, by halving a stretch that lacks one."""
    while first < last:
        middle = (first + last) // 2
        if is_complete(first, middle):
            first = middle + 1
        else:
            last = middle
    return first


def _newest_signed(tenant_id: str) -> int:
    """Return the highest record number that a trusted checkpoint vouches for, 0 without any."""
    keys = signing.trusted_keys()
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("-sequence")
    texts = [(row.statement, row.signature) for row in rows[:_MAX_CHECKPOINTS]]
    # Verification says that they cannot be read.
    with suppress(OSError):
        texts += checkpoint_files.last_lines(tenant_id)
    return max((_signed_sequence(tenant_id, *each, keys) for each in texts), default=0)


def _signed_sequence(tenant_id: str, text: str, signature: str, keys: dict[str, bytes]) -> int:
    statement = checkpoint_statement.read(text)
    if statement is None or statement.tenant_id != tenant_id:
        return 0
    trust = signing.signature_trust(statement.key_id, text.encode(), signature, keys)
    return statement.sequence if trust is Trust.KNOWN else 0
