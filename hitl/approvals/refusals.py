"""Audits decisions that were refused (wire.md, 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from structlog.stdlib import get_logger

from dwp_project.gateway.errors import DwpError
from dwp_project.jsontext import parse
from hitl import errors
from hitl.actors import Actor
from hitl.audit import record as audit_record
from hitl.models import ApprovalRequest, AuditRecord
from hitl.policies import rules
from hitl.states import AuditEvent

logger = get_logger(__name__)

# The refusals that are audited, and the `why` of each: the first that fits.
_WHY: tuple[tuple[type[DwpError], str], ...] = (
    (errors.RequesterMayNotApprove, "own request"),
    (errors.MayNotDecide, "wrong role"),
    (errors.DigestDiffers, "digest differs"),
    (errors.RequestChanged, "changed behind the book's back"),
    (errors.ReasonRequired, "reason missing"),
    (errors.RequestNotFound, "wrong tenant"),
)
# The same refusal of the same person is recorded once in this time (wire.md, 3.6), so that nobody
# fills the audit by pressing a button.
_REPEAT_WINDOW = timedelta(minutes=1)
# Chosen: how many of a request's newest records are compared. Were more written within the window,
# a refusal would be recorded twice, which harms nobody.
_RECORDS_COMPARED = 50


def record_refusal(
    refusal: DwpError,
    request: ApprovalRequest,
    actor: Actor,
    now: datetime,
    *,
    tried: str,
    shown_digest: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Record in the actor's chain that they tried to decide the request and were refused.

    `tried` is `approve`, `reject` or `cancel`; `extra` are further audit details. Writes in a
    transaction of its own, since nothing else has changed. Never raises: the caller raises the
    refusal itself, whatever happens here.
    """
    why = next((why for kind, why in _WHY if isinstance(refusal, kind)), None)
    if why is None:
        return
    details: dict[str, Any] = {
        "why": why,
        "tried": tried,
        **rules.policy_details(request),
        **(extra or {}),
    }
    if isinstance(refusal, errors.RoleRequired):
        details["requiredRole"] = refusal.role
    if shown_digest is not None:
        details["shownDigest"] = shown_digest[:64]
    event = AuditEvent.DECISION_REFUSED
    try:
        with transaction.atomic():
            if not _is_repeated(request, actor, why, tried, now):
                audit_record.write(event, actor, now, request=request, details=details)
    except Exception:
        logger.exception("refusal_not_recorded", request_id=request.request_id, why=why)


def _is_repeated(
    request: ApprovalRequest, actor: Actor, why: str, tried: str, now: datetime
) -> bool:
    records = AuditRecord.objects.filter(
        request_id=request.request_id, tenant_id=actor.tenant_id
    ).order_by("-sequence")
    return any(
        (record.event, record.actor, record.channel)
        == (AuditEvent.DECISION_REFUSED, actor.id, actor.channel)
        and record.at > now - _REPEAT_WINDOW
        and _is_about(record.details, why, tried)
        for record in records[:_RECORDS_COMPARED]
    )


def _is_about(details: str, why: str, tried: str) -> bool:
    members = parse(details)
    return (members.get("why"), members.get("tried")) == (why, tried)
