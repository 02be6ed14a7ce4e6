"""Refuses to export a chain that does not hold where it is to be exported."""

from __future__ import annotations

from contextlib import suppress

from hitl.audit import checkpoint_files, checkpoint_statement, signing
from hitl.audit.signing import Trust
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord

# Chosen: so many of the newest checkpoints are read for one that is signed by a trusted key.
_MAX_CHECKPOINTS = 100


def find_head(tenant_id: str) -> AuditChain:
    """Return the chain's head, or that of an empty chain.

    Raises `ChainBroken` if a record or a signed checkpoint is beyond it, or if its record is not
    the one it names. Reads little: what is between first record and head is read while it is
    exported.
    """
    # Read before the head: a record and the head that counts it commit together, and what is
    # signed was committed before.
    signed = _newest_signed(tenant_id)
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    last = records.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    end = head.last_sequence
    if max(last, signed) > end:
        raise ChainBroken(end + 1)
    if end and not records.filter(sequence=end, hash=head.last_hash).exists():
        raise ChainBroken(end)
    return head


def check_span(tenant_id: str, first: int, last: int) -> None:
    """Raise `ChainBroken` if one of the records `first` to `last` is missing."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id, sequence__range=(first, last))
    if last and records.count() != last - first + 1:
        raise ChainBroken(_first_missing(tenant_id, first, last))


def _first_missing(tenant_id: str, first: int, last: int) -> int:
    """Return the number of the first missing record, by halving the span that lacks one."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    while first < last:
        middle = (first + last) // 2
        if records.filter(sequence__range=(first, middle)).count() == middle - first + 1:
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
