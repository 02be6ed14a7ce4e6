"""Exports to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.db import transaction

from hitl.audit import export as audit_export
from hitl.audit import export_file, signing
from hitl.audit import record as audit_record
from hitl.audit.export_format import Format
from hitl.states import ActorKind, AuditEvent
from tests import factories
from tests.integration.chains import NOON
from tests.people import APPROVER


def hourly(count: int) -> None:
    """Append records an hour apart, from NOON on."""
    for hour in range(count):
        with transaction.atomic():
            audit_record.write(
                AuditEvent.SESSION_REFUSED,
                factories.actor(),
                NOON + timedelta(hours=hour),
                session_id="=cmd|' /C calc'!A0",
            )


def exported(
    path: Path,
    form: Format = Format.JSONL,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    **span: object,
) -> audit_export.Export:
    """Write an export of tenant1's chain; `meanwhile` is called between its begin and its file."""
    actor = factories.actor(APPROVER, kind=ActorKind.OPERATOR)
    export = audit_export.begin(actor, form, **span)  # type: ignore[arg-type]
    meanwhile()
    path.write_bytes(b"".join(export_file.zip_chunks(export)))
    return export


def keys() -> dict[str, bytes]:
    return signing.trusted_keys()
