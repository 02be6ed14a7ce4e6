"""Reports a chain that takes no more records, because another record has its next number."""

from __future__ import annotations

import time

from django.db import IntegrityError
from structlog.stdlib import get_logger

from hitl import metrics
from hitl.audit import triggers
from hitl.errors import ChainBlocked

logger = get_logger(__name__)

# Chosen: every refused record is counted, and a chain is logged once in this time.
_LOG_SECONDS = 60.0
# By tenant, when its blocked chain was logged last.
_logged_at: dict[str, float] = {}
# How the database names the rule that a taken number or key breaks: the constraint, on SQLite its
# columns, or there the trigger that is asked first.
_RULES = (
    *("audit_sequence_once", f"{triggers.TABLE}_pkey"),
    *(f"{triggers.TABLE}.sequence", f"{triggers.TABLE}.id"),
    triggers.REFUSAL,
)


def is_number_taken(exc: IntegrityError) -> bool:
    """Say whether a record was refused because another one has its number."""
    diagnosis = getattr(exc.__cause__, "diag", None)
    text = str(exc) if diagnosis is None else str(diagnosis.constraint_name)
    return any(rule in text for rule in _RULES)


def report(tenant_id: str, sequence: int) -> ChainBlocked:
    """Count and log that record `sequence`, or one written with it, found its number taken;
    return the error to raise."""
    metrics.blocked_records.inc()
    now = time.monotonic()
    if now - _logged_at.get(tenant_id, -_LOG_SECONDS) >= _LOG_SECONDS:
        _logged_at[tenant_id] = now
        logger.error("audit_chain_blocked", tenant=tenant_id, sequence=sequence)
    return ChainBlocked()
