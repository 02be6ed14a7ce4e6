"""Refuses to export a chain that does not hold where it is to be exported."""

from __future__ import annotations

from contextlib import suppress

from hitl.audit import breaks, checkpoint_files, checkpoint_statement, signing
from hitl.audit.breaks import AcknowledgedBreak
from hitl.audit.signing import Trust
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord

# Chosen: so many of the newest checkpoints are read for one that is signed by a trusted key.
_MAX_CHECKPOINTS = 100


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
