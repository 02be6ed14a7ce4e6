"""Publishes signals through the guarded script (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from redis.exceptions import RedisError, ResponseError
from structlog.stdlib import get_logger

from hitl import outbox, signalling
from hitl.models import ID_PATTERN, ApprovalRequest, OutboxEntry
from hitl.states import Origin, Outcome

logger = get_logger(__name__)


class Sent(NamedTuple):
    """Whether any entry must be sent again, and whether Redis could not be reached."""

    is_owed: bool
    is_away: bool


def send(entries: Sequence[OutboxEntry]) -> Sent:
    """Publish entries through the guarded script and note what became of each.

    With Redis away they stay pending; nothing is raised for that: a committed decision is
    never turned into an error.
    """
    attempts = {entry.pk: outbox.Attempt(Outcome.UNHEARD) for entry in entries if _left(entry) <= 0}
    timely = [entry for entry in entries if entry.pk not in attempts]
    error = ""
    try:
        # In this order: what the database says now may be acted on for a moment from here.
        asked_at = signalling.clock() if timely else 0.0
        outdated, unheard = _outdated(timely), _said_to_nobody(timely)
        for entry in timely:
            if entry.pk in unheard and entry.pk not in outdated:
                attempts[entry.pk] = outbox.Attempt(Outcome.PENDING)
            else:
                attempts[entry.pk] = _attempt(entry, asked_at, is_newest=entry.pk not in outdated)
    except (RedisError, OSError, ValueError) as exc:  # ValueError: an unusable REDIS_URL
        error = str(exc) or type(exc).__name__
        logger.warning("signals_not_published", count=len(entries) - len(attempts), error=error)
    away = outbox.Attempt(Outcome.PENDING, error=error, is_away=True)
    noted = [(entry, attempts.get(entry.pk, away)) for entry in entries]
    outbox.note(noted)
    return Sent(
        is_owed=any(attempt.outcome is Outcome.PENDING for _, attempt in noted),
        is_away=bool(error),
    )


def _outdated(entries: Sequence[OutboxEntry]) -> set[int]:
    """Return the keys of entries whose session has a newer request.

    Newer by time, not by row: requests that agents wrote to Redis are adopted in any order.
    """
    opened_at, row = OuterRef("request__created_at"), OuterRef("request_id")
    newer = ApprovalRequest.objects.filter(session_id=OuterRef("request__session_id")).filter(
        Q(created_at__gt=opened_at) | Q(created_at=opened_at, pk__gt=row)
    )
    found = OutboxEntry.objects.filter(Exists(newer), pk__in=[entry.pk for entry in entries])
    return set(found.values_list("pk", flat=True))


def _said_to_nobody(entries: Sequence[OutboxEntry]) -> set[int]:
    """Return the keys of entries that Redis holds already and that nobody listens for.

    To publish them again would change nothing. Those that are sent for the first time are not
    asked about.
    """
    again = [entry for entry in entries if entry.attempts]
    if not again:
        return set()
    held = signalling.held([entry.request.session_id for entry in again])
    return {
        entry.pk
        for entry, (signal, listeners) in zip(again, held, strict=True)
        if listeners == 0 and signal == entry.signal
    }


def _attempt(entry: OutboxEntry, asked_at: float, *, is_newest: bool) -> outbox.Attempt:
    request = entry.request
    if not is_newest:
        signalling.refresh(request)
        return outbox.Attempt(Outcome.SUPERSEDED)
    try:
        receivers = signalling.publish(
            request, entry.signal, seconds=max(1, round(_left(entry))), asked_at=asked_at
        )
    except signalling.TooLate:
        return outbox.Attempt(Outcome.PENDING, is_late=True)
    except signalling.Superseded as superseded:
        return outbox.Attempt(_unless_told_late(request, superseded.named))
    except ResponseError as exc:
        # A key of another kind, say: this signal's own trouble, and no other's.
        return outbox.Attempt(Outcome.PENDING, error=str(exc))
    return outbox.Attempt(Outcome.DELIVERED if receivers else Outcome.PENDING, receivers)


def _left(entry: OutboxEntry) -> float:
    """Return for how many more seconds the signal may be sent."""
    return signalling.SIGNAL_TTL - (timezone.now() - entry.created_at).total_seconds()


def _unless_told_late(request: ApprovalRequest, named: str) -> Outcome:
    """Return what a refusal means: the session's key names another request than this one.

    If the database knows that one as older, its session has not heard of this one yet. An
    agent on Redis is about to write it; an opening of ours that Redis missed is told now,
    unless the key has changed meanwhile. Either way the signal is sent again.
    """
    older = ApprovalRequest.objects.filter(session_id=request.session_id).exclude(pk=request.pk)
    # Asked only what can be an id: PostgreSQL takes no NUL.
    if not (ID_PATTERN.fullmatch(named) and older.filter(request_id=named).exists()):
        return Outcome.SUPERSEDED
    if request.origin != Origin.REDIS:
        signalling.announce(request, instead_of=named)
    return Outcome.PENDING
