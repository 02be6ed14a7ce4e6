"""The only writer of audit records: one chain per tenant, each record hashed over the last and
signed with the deployment's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from dwp_project.jsontext import canonical
from hitl.actors import Actor
from hitl.audit import blocked, record_signatures
from hitl.audit.hashing import FORM, GENESIS, hash_of
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from hitl.states import AuditEvent

__all__ = [
    "GENESIS",
    "Fact",
    "hash_of",
    "lock_chain",
    "tenants",
    "write",
    "write_all",
    "write_behind",
]


@dataclass(frozen=True, slots=True)
class Fact:
    """What one record is to say."""

    event: AuditEvent
    actor: Actor
    at: datetime
    request: ApprovalRequest | None = None
    session_id: str = ""
    details: Mapping[str, Any] | None = None


def write(
    event: AuditEvent,
    actor: Actor,
    at: datetime,
    *,
    request: ApprovalRequest | None = None,
    session_id: str = "",
    details: Mapping[str, Any] | None = None,
) -> AuditRecord:
    """Append one record to the chain of the actor's tenant (empty: the deployment's).

    The caller opens the transaction, that of the recorded change; raises `RuntimeError` outside
    one, and `ChainBlocked` if another record has the number. The chain's row stays locked until
    it commits.
    """
    return write_all(actor.tenant_id, [Fact(event, actor, at, request, session_id, details)])[0]


def write_all(tenant_id: str, facts: Sequence[Fact]) -> list[AuditRecord]:
    """Append records of one tenant's actors, in their order, as `write` does one."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an audit record is written in the transaction of its change")
    chain = lock_chain(tenant_id)
    entries = [_build_record(chain, fact) for fact in facts]
    _insert(chain.tenant_id, entries)
    chain.save(update_fields=["last_sequence", "last_hash"])
    return entries


def _insert(tenant_id: str, entries: Sequence[AuditRecord]) -> None:
    try:
        AuditRecord.objects.bulk_create(entries)
    except IntegrityError as exc:
        if blocked.is_number_taken(exc):
            raise blocked.report(tenant_id, entries[0].sequence) from exc
        raise


def write_behind(chain: AuditChain, fact: Fact, *, last_hash: str, number: int) -> AuditRecord:
    """Write a record that follows the one with hash `last_hash`, and has a number behind records
    that are not the chain's own; the chain goes on from it.

    The caller has locked the chain, and `fact` says which records are skipped
    (`hitl.audit.breaks`). Raises `ChainBlocked` if the number is taken.
    """
    chain.last_sequence, chain.last_hash = number - 1, last_hash
    entry = _build_record(chain, fact)
    _insert(chain.tenant_id, [entry])
    chain.save(update_fields=["last_sequence", "last_hash"])
    return entry


def lock_chain(tenant_id: str) -> AuditChain:
    """Return the chain, locked until the transaction ends; a new one if there is none."""
    chains = AuditChain.objects.select_for_update().filter(tenant_id=tenant_id)
    for chain in chains:
        return chain
    AuditChain.objects.bulk_create([AuditChain(tenant_id=tenant_id)], ignore_conflicts=True)
    return chains.get()


def _build_record(chain: AuditChain, fact: Fact) -> AuditRecord:
    """Return the next record of the chain, from `fact`, and advance the chain's head to it."""
    actor, request = fact.actor, fact.request
    if actor.tenant_id != chain.tenant_id:
        raise ValueError("an audit record belongs to the chain of its actor's tenant")
    entry = AuditRecord(
        tenant_id=chain.tenant_id,
        sequence=chain.last_sequence + 1,
        event=fact.event,
        request_id=request.request_id if request else "",
        session_id=request.session_id if request else fact.session_id,
        actor=actor.id,
        actor_kind=actor.kind,
        channel=actor.channel,
        at=fact.at,
        source_address=actor.address,
        user_agent=actor.user_agent,
        context_digest=request.context_digest if request else "",
        form=FORM,
        action_type=request.action_type if request else "",
        details=canonical({**(fact.details or {}), **actor.recorded}),
        previous_hash=chain.last_hash,
    )
    entry.hash = hash_of(entry)
    entry.signature = record_signatures.sign(entry.hash)
    chain.last_sequence, chain.last_hash = entry.sequence, entry.hash
    return entry


def tenants() -> list[str]:
    """Return the tenant of every chain of which a head or a record is left."""
    heads = AuditChain.objects.order_by().values_list("tenant_id", flat=True)
    return sorted({*heads, *_tenants_of_records()})


def _tenants_of_records() -> Iterator[str]:
    """Step from tenant to tenant along the index; a plain DISTINCT would read every record."""
    records = AuditRecord.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    tenant_id = records.first()
    while tenant_id is not None:
        yield tenant_id
        tenant_id = records.filter(tenant_id__gt=tenant_id).first()
