"""Signals on their way to agents: written with the decision, sent after it commits."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project.jsontext import compact
from hitl import signalling
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.representation import signal
from hitl.states import Outcome

logger = get_logger(__name__)


def enqueue(request: ApprovalRequest, now: datetime) -> OutboxEntry:
    """Keep the signal of a decided request, in the decision's transaction."""
    return OutboxEntry.objects.create(
        request=request, signal=compact(signal(request)), created_at=now
    )


def send(entry: OutboxEntry) -> None:
    """Publish one entry through the guarded script and note what became of it.

    With Redis away the entry stays pending; nothing is raised: a committed decision is
    never turned into an error.
    """
    request = entry.request
    left = signalling.SIGNAL_TTL - int((timezone.now() - entry.created_at).total_seconds())
    is_newest = not ApprovalRequest.objects.filter(
        session_id=request.session_id, pk__gt=request.pk
    ).exists()
    try:
        receivers = signalling.publish(
            request, entry.signal, seconds=max(left, 0) if is_newest else 0
        )
    except (RedisError, OSError) as exc:
        logger.warning("signal_not_published", request_id=request.request_id, error=str(exc))
        OutboxEntry.objects.filter(pk=entry.pk).update(
            attempts=F("attempts") + 1, attempted_at=timezone.now()
        )
        return
    if receivers is None:
        outcome = Outcome.SUPERSEDED if left > 0 else Outcome.UNHEARD
    else:
        outcome = Outcome.DELIVERED if receivers else Outcome.PENDING
    OutboxEntry.objects.filter(pk=entry.pk).update(
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
        receivers=F("receivers") + (receivers or 0),
        outcome=outcome,
    )


def current_signal(session_id: str) -> str | None:
    """Return what the session's signal key would hold if Redis were there to ask."""
    newest = ApprovalRequest.objects.filter(session_id=session_id).order_by("-pk").first()
    if newest is None:
        return None
    since = timezone.now() - timedelta(seconds=signalling.SIGNAL_TTL)
    entry = OutboxEntry.objects.filter(request=newest, created_at__gt=since).first()
    return entry.signal if entry else None
