"""Audit records to look at."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction

from hitl.audit import record as audit_record
from hitl.models import AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.people import REQUESTER, Person

NOON = datetime(2026, 1, 16, 12, 0, 0, 123456, tzinfo=UTC)


def record(person: Person = REQUESTER, *, session_id: str = "") -> AuditRecord:
    """Append one record to the chain of the person's tenant."""
    with transaction.atomic():
        return audit_record.write(
            AuditEvent.SESSION_REFUSED, factories.actor(person), NOON, session_id=session_id
        )


def chain_of(count: int) -> list[AuditRecord]:
    """Append `count` records to the chain of tenant1."""
    return [record(session_id=f"session-{number}") for number in range(1, count + 1)]
