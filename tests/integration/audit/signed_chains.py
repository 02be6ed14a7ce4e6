"""Checkpoints to look at, and chains that lost what was signed."""

from __future__ import annotations

import json
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from hitl.audit import checkpoint_files, diagnose, record, triggers, verify
from hitl.audit.diagnose import BreakKind
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from hitl.states import AuditEvent
from tests import factories


def lines() -> list[dict[str, str]]:
    return [
        json.loads(line) for line in checkpoint_files.file_of("tenant1").read_text().splitlines()
    ]


def cut(left: int) -> None:
    """Cut the chain's tail off and set everything in the database to match."""
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence__gt=left).delete()
    last = AuditRecord.objects.filter(sequence=left).first()
    AuditChain.objects.update(last_sequence=left, last_hash=last.hash if last else record.GENESIS)
    triggers.install(connection)


def broken() -> tuple[BreakKind, int]:
    result = verify.verify("tenant1")
    assert isinstance(result, diagnose.ChainBreak), result
    return result.kind, result.sequence


def insert_record(
    request: ApprovalRequest | None = None,
    event: AuditEvent = AuditEvent.SESSION_REFUSED,
    at: datetime | None = None,
    *,
    form: int = 3,
    signature: str = "",
) -> AuditRecord:
    """Append a record to tenant1's chain as somebody does who can write to the database and has
    no key: every hash fits. It names approver1."""
    actor = factories.actor()
    # In one transaction: a gate that waits must not see the record while it is still signed.
    with transaction.atomic():
        entry = record.write(event, actor, at or timezone.now(), request=request)
        triggers.remove(connection)
        entry.form, entry.signature = form, signature
        entry.hash = record.hash_of(entry)
        entry.save()
        AuditChain.objects.filter(tenant_id=entry.tenant_id).update(last_hash=entry.hash)
        triggers.install(connection)
    return entry
