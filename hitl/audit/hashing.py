"""Computes the hash of a record. Needs no database and no settings: exports are verified by it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dwp_project.jsontext import canonical

if TYPE_CHECKING:
    from hitl.models import AuditRecord

GENESIS = "0" * 64
# The form of new records. Form 1 had no action, and records of forms 1 and 2 were not signed; they
# still verify.
FORM = 3
# Records of this form and later ones are signed (hitl.audit.record_signatures).
FIRST_SIGNED_FORM = 3

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


def exact(moment: datetime) -> str:
    """Return a time as it is hashed and signed: ISO 8601, UTC, with its microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def facts(entry: AuditRecord) -> dict[str, Any]:
    """Return every value of a record that is hashed, by its name in the hash."""
    values: dict[str, Any] = {
        "form": entry.form,
        "tenant": entry.tenant_id,
        "sequence": entry.sequence,
        "at": exact(entry.at),
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
    # Form 1 has no action. One that somebody added later is hashed, so that the hash differs.
    if entry.form != 1 or entry.action_type:
        values["action"] = entry.action_type
    return values


def hash_of_facts(values: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, over the canonical JSON of the facts."""
    return sha256(canonical(values).encode()).hexdigest()


def hash_of(entry: AuditRecord) -> str:
    """Return the hash that the record should have."""
    return hash_of_facts(facts(entry))
