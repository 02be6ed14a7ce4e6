"""What a record's hash is over, in each form."""

from __future__ import annotations

from datetime import UTC, datetime

from hitl.audit import hashing
from hitl.models import AuditRecord


def test_record_of_form_1_keeps_its_hash_and_knows_no_action() -> None:
    entry = AuditRecord(session_id="session-1", at=datetime(2026, 1, 16, 12, tzinfo=UTC))
    entry.form = 1
    values = hashing.facts(entry)

    assert "action" not in values
    assert values["form"] == 1
    entry.action_type = "pay"  # written into it later
    assert hashing.hash_of(entry) != hashing.hash_of_facts(values)
