"""What a record's hash is over. Exports are verified by it, without database or settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dwp_project.jsontext import canonical

if TYPE_CHECKING:
    from hitl.models import AuditRecord

GENESIS = "0" * 64
# The form of new records. Form 1 knew no action; what was written in it keeps verifying.
FORM = 2

# Names of the hashed facts, in the order in which an export lists them.
FACTS = (
    "form",
    "tenant",
    "sequence",
    "at",
    "event",
    "actor",
    "actorKind",
    "channel",
    "request",
    "session",
    "action",
    "sourceAddress",
    "userAgent",
    "contextDigest",
    "details",
    "previousHash",
)


def facts(entry: AuditRecord) -> dict[str, Any]:
    """Return all that a record says, by the names under which it is hashed."""
    values: dict[str, Any] = {
        "form": entry.form,
        "tenant": entry.tenant_id,
        "sequence": entry.sequence,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "event": str(entry.event),
        "actor": entry.actor,
        "actorKind": str(entry.actor_kind),
        "channel": str(entry.channel),
        "request": entry.request_id,
        "session": entry.session_id,
        "sourceAddress": entry.source_address,
        "userAgent": entry.user_agent,
        "contextDigest": entry.context_digest,
        "details": entry.details,
        "previousHash": entry.previous_hash,
    }
    # Form 1 has none. One that was added to it later is hashed, and so found.
    if entry.form != 1 or entry.action_type:
        values["action"] = entry.action_type
    return values


def hash_of_facts(values: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, over the canonical JSON of the facts."""
    return sha256(canonical(values).encode()).hexdigest()


def hash_of(entry: AuditRecord) -> str:
    """Return the hash that the record should have."""
    return hash_of_facts(facts(entry))
