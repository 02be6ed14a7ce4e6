"""Checkpoints to look at, and chains that lost what was signed."""

from __future__ import annotations

import json

from django.db import connection

from hitl.audit import checkpoint_files, diagnose, record, triggers, verify
from hitl.audit.diagnose import BreakKind
from hitl.models import AuditChain, AuditRecord


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
