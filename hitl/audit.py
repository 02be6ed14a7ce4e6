"""The only writer of audit records: one chain per tenant, each record hashed over the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.db.models import Max, Min

from dwp_project.jsontext import canonical
from hitl.actors import Actor
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from hitl.states import AuditEvent

GENESIS = "0" * 64
# Named in every hashed text, so that a later form of the record can be told from this one.
_FORM = 1


def record(
    event: AuditEvent,
    actor: Actor,
    at: datetime,
    *,
    request: ApprovalRequest | None = None,
    session_id: str = "",
    details: Mapping[str, Any] | None = None,
) -> AuditRecord:
    """Append one record to the chain of the actor's tenant (empty: the deployment's).

    Needs the transaction of the change it tells of and never opens one: raises
    `RuntimeError` outside. The chain's row stays locked until that commits.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an audit record is written in the transaction of its change")
    AuditChain.objects.get_or_create(tenant_id=actor.tenant_id)
    chain = AuditChain.objects.select_for_update().get(tenant_id=actor.tenant_id)
    entry = AuditRecord(
        tenant_id=actor.tenant_id,
        sequence=chain.last_sequence + 1,
        event=event,
        request_id=request.request_id if request else "",
        session_id=request.session_id if request else session_id,
        actor=actor.id,
        actor_kind=actor.kind,
        channel=actor.channel,
        at=at,
        source_address=actor.address,
        user_agent=actor.user_agent,
        context_digest=request.context_digest if request else "",
        details=canonical({**(details or {}), **actor.recorded}),
        previous_hash=chain.last_hash,
    )
    entry.hash = hash_of(entry)
    entry.save(force_insert=True)
    chain.last_sequence, chain.last_hash = entry.sequence, entry.hash
    chain.save(update_fields=["last_sequence", "last_hash"])
    return entry


def hash_of(entry: AuditRecord) -> str:
    """Return the SHA-256, in hexadecimal, over the canonical JSON of all the record says."""
    facts = {
        "form": _FORM,
        "tenant": entry.tenant_id,
        "sequence": entry.sequence,
        "event": str(entry.event),
        "request": entry.request_id,
        "session": entry.session_id,
        "actor": entry.actor,
        "actorKind": str(entry.actor_kind),
        "channel": str(entry.channel),
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "sourceAddress": entry.source_address,
        "userAgent": entry.user_agent,
        "contextDigest": entry.context_digest,
        "details": entry.details,
        "previousHash": entry.previous_hash,
    }
    return sha256(canonical(facts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain does not hold."""

    tenant_id: str
    sequence: int
    why: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain that holds from its first record to its head."""

    tenant_id: str
    records: int
    head: str


def verify(tenant_id: str) -> Verified | Break:
    """Walk one chain, reading it in bounded pieces, and return its first break if any."""
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    expected, previous = 1, GENESIS
    # Up to the head as it was read: records that are written meanwhile are the next walk's.
    records = AuditRecord.objects.filter(
        tenant_id=tenant_id, sequence__lte=head.last_sequence
    ).order_by("sequence")
    for entry in records.iterator(chunk_size=2000):
        if entry.sequence != expected:
            return Break(tenant_id, expected, f"record {expected} is missing")
        if entry.previous_hash != previous:
            return Break(tenant_id, expected, "it does not follow the record before it")
        if entry.hash != hash_of(entry):
            return Break(tenant_id, expected, "its content differs from its hash")
        expected, previous = expected + 1, entry.hash
    if expected != head.last_sequence + 1:
        return Break(tenant_id, expected, f"record {expected} is missing")
    if previous != head.last_hash:
        return Break(tenant_id, expected, "the chain's head does not match its last record")
    if stray := _after_the_head(tenant_id):
        return Break(tenant_id, stray, "it stands outside the chain")
    return Verified(tenant_id, head.last_sequence, previous)


def _after_the_head(tenant_id: str) -> int:
    """Return the sequence of a record that is not part of its chain, or 0.

    Records are read before the head: a record and the head that counts it commit together.
    """
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    last = records.aggregate(last=Max("sequence"), first=Min("sequence"))
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    if last["last"] is not None and last["last"] > head.last_sequence:
        return int(last["last"])
    return int(last["first"]) if last["first"] is not None and last["first"] < 1 else 0


def tenants() -> list[str]:
    """Return the tenant of every chain, whether known by its head or only by its records."""
    heads = AuditChain.objects.order_by().values_list("tenant_id", flat=True)
    records = AuditRecord.objects.order_by().values_list("tenant_id", flat=True)
    return sorted(heads.union(records))
