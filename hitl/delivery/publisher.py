"""Publishes signals through the guarded script (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from redis.exceptions import RedisError, ResponseError
from structlog.stdlib import get_logger

from dwp_project.jsontext import InvalidJSON
from hitl.delivery import commands, outbox
from hitl.delivery import keys as redis_keys
from hitl.models import ID_PATTERN, ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome, Origin

logger = get_logger(__name__)


class SendResult(NamedTuple):
    """Whether any entry must be sent again, whether Redis could not be reached, and whether it
    took so long that some were not published any more."""

    is_owed: bool
    is_away: bool
    is_late: bool


def send(entries: Sequence[OutboxEntry]) -> SendResult:
    """Publish entries through the guarded script and note what became of each.

    With Redis away they stay pending; nothing is raised for that: a committed decision is
    never turned into an error.
    """
    attempts = {
        entry.pk: outbox.AttemptResult(_final_outcome(entry, DeliveryOutcome.UNHEARD))
        for entry in entries
        if _seconds_left(entry) <= 0
    }
    timely = [entry for entry in entries if entry.pk not in attempts]
    error = ""
    try:
        if timely:
            _send_timely(timely, attempts)
    except (RedisError, OSError, ValueError) as exc:  # ValueError: an unusable REDIS_URL
        error = str(exc) or type(exc).__name__
        logger.warning("signals_not_published", count=len(entries) - len(attempts), error=error)
    away = outbox.AttemptResult(DeliveryOutcome.PENDING, error=error, is_away=True)
    noted = [(entry, attempts.get(entry.pk, away)) for entry in entries]
    outbox.record_attempts(noted)
    return SendResult(
        is_owed=any(attempt.outcome is DeliveryOutcome.PENDING for _, attempt in noted),
        is_away=bool(error),
        is_late=any(attempt.is_late for _, attempt in noted),
    )


def _send_timely(entries: Sequence[OutboxEntry], attempts: dict[int, outbox.AttemptResult]) -> None:
    """Put what came of each entry into `attempts`, as far as Redis can be reached."""
    # In this order: what the database says now may be acted on for a moment from here.
    asked_at = commands.clock()
    outdated, standing = _outdated(entries), _key_states(entries)
    idle = {pk for pk, (is_held, listeners) in standing.items() if is_held and not listeners}
    idle -= outdated
    _repeat([entry for entry in entries if entry.pk in idle], attempts, asked_at)
    lost = []
    for entry in outbox.load_requests([entry for entry in entries if entry.pk not in idle]):
        if entry.pk in outdated:
            _refresh(entry)
            attempts[entry.pk] = outbox.AttemptResult(
                _final_outcome(entry, DeliveryOutcome.SUPERSEDED)
            )
        elif entry.pk in standing and not standing[entry.pk].listeners:
            lost.append(entry)
        else:
            attempts[entry.pk] = _result_of(entry, _published(entry, asked_at))
    # What a Redis that came back empty has lost, all of it in one go: nobody listens for it yet.
    if lost:
        publications = [(entry.request, entry.signal, _seconds(entry)) for entry in lost]
        answers = commands.publish_all(publications, asked_at=asked_at)
        for entry, answer in zip(lost, answers, strict=True):
            attempts[entry.pk] = _result_of(entry, answer)


def _repeat(
    entries: Sequence[OutboxEntry], attempts: dict[int, outbox.AttemptResult], asked_at: float
) -> None:
    """Publish again what Redis holds, all of it in one go: nobody is counted as a listener, but
    one that hears by pattern, or at a replica, is never counted."""
    if not entries:
        return
    told = [(entry.request.session_id, entry.request.request_id, entry.signal) for entry in entries]
    for entry, answer in zip(entries, commands.repeat_all(told, asked_at=asked_at), strict=True):
        [whole] = [entry] if isinstance(answer, int) else outbox.load_requests([entry])
        attempts[entry.pk] = _result_of(whole, answer)


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


class KeyState(NamedTuple):
    """Whether Redis holds the signal, and how many listen for it."""

    is_held: bool
    listeners: int


def _key_states(entries: Sequence[OutboxEntry]) -> dict[int, KeyState]:
    """Return how each entry stands that is not sent for the first time, by its key."""
    again = [entry for entry in entries if entry.attempts]
    if not again:
        return {}
    held = commands.signals_and_listeners([entry.request.session_id for entry in again])
    return {
        entry.pk: KeyState(signal == entry.signal, listeners)
        for entry, (signal, listeners) in zip(again, held, strict=True)
    }


def _refresh(entry: OutboxEntry) -> None:
    try:
        commands.refresh(entry.request)
    except InvalidJSON as exc:
        logger.error("request_unreadable", request_id=entry.request.request_id, error=str(exc))


def _published(entry: OutboxEntry, asked_at: float) -> int | Exception:
    try:
        return commands.publish(
            entry.request, entry.signal, seconds=_seconds(entry), asked_at=asked_at
        )
    except (commands.TooLate, commands.Superseded, ResponseError, InvalidJSON) as refused:
        return refused


def _result_of(entry: OutboxEntry, answer: int | Exception) -> outbox.AttemptResult:
    """Return what a publication's answer, or its refusal, means."""
    match answer:
        case commands.TooLate():
            return outbox.AttemptResult(DeliveryOutcome.PENDING, is_late=True)
        case commands.Superseded():
            outcome = _outcome_if_superseded(entry, answer.named)
            return outbox.AttemptResult(outcome, is_withheld=outcome is DeliveryOutcome.PENDING)
        case Exception():
            # A key of another kind, a context changed by hand: its own trouble, and no other's.
            return outbox.AttemptResult(DeliveryOutcome.PENDING, error=str(answer))
    return outbox.AttemptResult(
        DeliveryOutcome.DELIVERED if answer else DeliveryOutcome.PENDING, answer
    )


def _seconds(entry: OutboxEntry) -> int:
    return max(1, round(_seconds_left(entry)))


def _seconds_left(entry: OutboxEntry) -> float:
    """Return for how many more seconds the signal may be sent."""
    return redis_keys.SIGNAL_TTL - (timezone.now() - entry.created_at).total_seconds()


def _final_outcome(entry: OutboxEntry, outcome: DeliveryOutcome) -> DeliveryOutcome:
    """Return how an entry ends: what somebody has received stays received, even if Redis has
    forgotten it since."""
    return DeliveryOutcome.DELIVERED if entry.receivers else outcome


def _outcome_if_superseded(entry: OutboxEntry, named: str) -> DeliveryOutcome:
    """Return what a refusal means: the session's key names another request than this one.

    If the database knows that one as older, its session has not heard of this one yet. An
    agent on Redis is about to write it; an opening of ours that Redis missed is told now,
    unless the key has changed meanwhile. Either way the signal is sent again.
    """
    request = entry.request
    older = ApprovalRequest.objects.filter(session_id=request.session_id).exclude(pk=request.pk)
    # Asked only what can be an id: PostgreSQL takes no NUL.
    if not (ID_PATTERN.fullmatch(named) and older.filter(request_id=named).exists()):
        return _final_outcome(entry, DeliveryOutcome.SUPERSEDED)
    if request.origin != Origin.REDIS:
        commands.announce(request, instead_of=named)
    return DeliveryOutcome.PENDING
