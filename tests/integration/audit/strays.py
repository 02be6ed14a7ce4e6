"""Records that somebody put into the audit table with SQL, beside the chain."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from hitl.audit.hashing import FORM, GENESIS, hash_of
from hitl.models import AuditChain, AuditRecord
from hitl.states import ActorKind, Channel


def stray(
    sequence: int,
    *,
    tenant_id: str = "tenant1",
    previous_hash: str = GENESIS,
    event: str = "request:approved",
    details: str = "{}",
    at: datetime | None = None,
    fits: bool = False,
    signature: str = "",
) -> AuditRecord:
    """Insert a record that no writer wrote, with a hash that fits it or not."""
    entry = AuditRecord(
        tenant_id=tenant_id,
        sequence=sequence,
        event=event,
        request_id="req_stray",
        actor="mallory",
        actor_kind=ActorKind.USER,
        channel=Channel.REST,
        at=at or timezone.now(),
        form=FORM,
        details=details,
        previous_hash=previous_hash,
        hash="ee" * 32,
        signature=signature,
    )
    if fits:
        entry.hash = hash_of(entry)
    entry.save(force_insert=True)
    return entry


def stray_behind_head(*, by: int = 1, tenant_id: str = "tenant1") -> AuditRecord:
    """Insert a record so many numbers behind the chain's head."""
    return stray(head_of(tenant_id).last_sequence + by, tenant_id=tenant_id)


def fitting_stray() -> AuditRecord:
    """Insert a record that fits the end of tenant1's chain, as anybody can compute it."""
    head = head_of()
    return stray(head.last_sequence + 1, previous_hash=head.last_hash, fits=True)


def head_of(tenant_id: str = "tenant1") -> AuditChain:
    return AuditChain.objects.get(tenant_id=tenant_id)
