"""Says whether this deployment wrote a record: whatever acts on what a record says asks here."""

from __future__ import annotations

from datetime import datetime

from dwp_project import clocks
from hitl.audit import breaks, checkpoint_trust, signing
from hitl.audit.hashing import FIRST_SIGNED_FORM, hash_of
from hitl.audit.record_signatures import is_update_under_way, trust_of
from hitl.audit.signing import Trust
from hitl.models import AuditRecord


def is_vouched_for(entry: AuditRecord, *, now: datetime | None = None) -> bool:
    """Say whether this deployment wrote the record as it stands: its hash fits and a trusted key
    signed it; or, of an older form or by a key that was replaced, a trusted checkpoint vouches for
    it and no acknowledged break leaves it outside the chain."""
    if entry.hash != hash_of(entry):
        return False
    if entry.form >= FIRST_SIGNED_FORM:
        trust = trust_of(entry, signing.trusted_keys())
        if trust is not Trust.UNKNOWN:
            return trust is Trust.KNOWN
    elif is_update_under_way(now or clocks.now()):
        return entry.sequence > 0
    vouched = checkpoint_trust.vouched(entry.tenant_id)
    return 0 < entry.sequence <= vouched and bool(breaks.own_records([entry]))
