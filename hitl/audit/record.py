"""The only writer of audit records: one chain per tenant, each record hashed over the last and
signed with the deployment's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from dwp_project import exchange
from dwp_project.exchange import Rows, Statement
from dwp_project.jsontext import canonical
from hitl.actors import Actor
from hitl.audit import blocked, record_signatures
from hitl.audit.hashing import FORM, GENESIS, hash_of
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from hitl.states import AuditEvent

__all__ = [
    "GENESIS",
    "Fact",
    "append",
    "hash_of",
    "lock_chain",
    "lock_statement",
    "locked_chain",
    "refusing_taken_numbers",
    "tenants",
    "write",
    "write_all",
    "write_behind",
]

# As SQL, because each decision does it.
_HEAD = f"SELECT {exchange.columns(AuditChain)} FROM hitl_auditchain WHERE tenant_id = %s"  # noqa: S608
_ADVANCE = "UPDATE hitl_auditchain SET last_sequence = %s, last_hash = %s WHERE id = %s"


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
    _insert(entries)
    chain.save(update_fields=["last_sequence", "last_hash"])
    return entries


def _insert(entries: Sequence[AuditRecord]) -> None:
    with refusing_taken_numbers(entries[0]):
        AuditRecord.objects.bulk_create(entries)


@contextmanager
def refusing_taken_numbers(entry: AuditRecord) -> Iterator[None]:
    """Raise `ChainBlocked` if the record's number proves taken when it is inserted in here."""
    try:
        yield
    except IntegrityError as exc:
        if blocked.is_number_taken(exc):
            raise blocked.report(entry.tenant_id, entry.sequence) from exc
        raise


def append(chain: AuditChain, fact: Fact) -> tuple[AuditRecord, list[Statement]]:
    """Return the next record of a locked chain, and the statements that write it: for a caller that
    sends them with others, within `refusing_taken_numbers`. The record has no key yet."""
    entry = _build_record(chain, fact)
    head = (chain.last_sequence, chain.last_hash, chain.pk)
    return entry, [exchange.insert(entry), Statement(_ADVANCE, head)]


def write_behind(chain: AuditChain, fact: Fact, *, last_hash: str, number: int) -> AuditRecord:
    """Write a record that follows the one with hash `last_hash`, and has a number behind records
    that are not the chain's own; the chain goes on from it.

    The caller has locked the chain, and `fact` says which records are skipped
    (`hitl.audit.breaks`). Raises `ChainBlocked` if the number is taken.
    """
    chain.last_sequence, chain.last_hash = number - 1, last_hash
    entry = _build_record(chain, fact)
    _insert([entry])
    chain.save(update_fields=["last_sequence", "last_hash"])
    return entry


def lock_chain(tenant_id: str) -> AuditChain:
    """Return the chain, locked until the transaction ends; a new one if there is none."""
    chains = AuditChain.objects.select_for_update().filter(tenant_id=tenant_id)
    for chain in chains:
        return chain
    AuditChain.objects.bulk_create([AuditChain(tenant_id=tenant_id)], ignore_conflicts=True)
    return chains.get()


def lock_statement(tenant_id: str) -> Statement:
    """Return the statement that locks the chain; what it answers is for `locked_chain`."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    return Statement(_HEAD + lock, [tenant_id])


def locked_chain(tenant_id: str, heads: Rows) -> AuditChain:
    """Return the chain that `lock_statement` has locked; a new one if there is none."""
    for head in heads:
        return exchange.one(AuditChain, head)
    return lock_chain(tenant_id)


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
