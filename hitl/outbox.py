"""Signals on their way to agents: written with the decision, sent after it commits, and
sent again until an agent has heard (docs/reference/wire.md, 5.2 and 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from redis.exceptions import RedisError, ResponseError
from structlog.stdlib import get_logger

from dwp_project.jsontext import compact
from hitl import metrics, signalling
from hitl.models import ID_PATTERN, ApprovalRequest, OutboxEntry
from hitl.representation import signal
from hitl.states import Origin, Outcome

logger = get_logger(__name__)

# The wake-up topic on which relays are told that something must be sent again.
TOPIC = "outbox"
# How long the deciding process has to publish before a relay may.
_FAST_PATH = timedelta(seconds=1)
# A relay that dies with entries in its hands gives them back after this.
_IN_HAND = timedelta(seconds=5)
# At most 5 s apart (wire.md, 5.2): what else a relay has to do comes on top of the pause.
_FIRST_PAUSE, _LONGEST_PAUSE, _DOUBLINGS = 0.1, 4.0, 6


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one publication; `error` says why there was none, `is_away` that Redis was
    not reached from here."""

    outcome: Outcome
    receivers: int = 0
    error: str = ""
    is_away: bool = False


def enqueue(request: ApprovalRequest, now: datetime) -> OutboxEntry:
    """Keep the signal of a decided request, in the decision's transaction."""
    return OutboxEntry.objects.create(
        request=request, signal=compact(signal(request)), created_at=now, due_at=now + _FAST_PATH
    )


def take_due(now: datetime, limit: int) -> list[OutboxEntry]:
    """Return up to `limit` entries to send now, withheld from other relays meanwhile."""
    with transaction.atomic():
        due = OutboxEntry.objects.due(now).select_related("request").order_by("due_at")
        if connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True, of=("self",))
        taken = list(due[:limit])
        if taken:
            OutboxEntry.objects.filter(pk__in=[entry.pk for entry in taken]).update(
                due_at=now + _IN_HAND
            )
    return taken


def next_due() -> datetime | None:
    """Return when the next pending entry may be sent again."""
    return OutboxEntry.objects.pending().order_by("due_at").values_list("due_at", flat=True).first()


def send(entries: Sequence[OutboxEntry]) -> bool:
    """Publish entries through the guarded script and note what became of each; say whether
    any must be sent again.

    With Redis away they stay pending; nothing is raised for that: a committed decision is
    never turned into an error.
    """
    attempts = {entry.pk: _Attempt(Outcome.UNHEARD) for entry in entries if _left(entry) <= 0}
    timely = [entry for entry in entries if entry.pk not in attempts]
    error = ""
    try:
        # In this order: what the database says now may be acted on for a moment from here.
        asked_at = signalling.clock() if timely else 0.0
        outdated = _outdated(timely)
        for entry in timely:
            attempts[entry.pk] = _attempt(entry, asked_at, is_newest=entry.pk not in outdated)
    except (RedisError, OSError, ValueError) as exc:  # ValueError: an unusable REDIS_URL
        error = str(exc) or type(exc).__name__
        logger.warning("signals_not_published", count=len(entries) - len(attempts), error=error)
    away = _Attempt(Outcome.PENDING, error=error, is_away=True)
    noted = [(entry, attempts.get(entry.pk, away)) for entry in entries]
    _note(noted)
    return any(attempt.outcome is Outcome.PENDING for _, attempt in noted)


def hold_up(error: str) -> None:
    """Note why nothing can be sent from here, and give up what is too old to be sent."""
    owed = OutboxEntry.objects.pending()
    end = timezone.now() - timedelta(seconds=signalling.SIGNAL_TTL)
    owed.filter(created_at__lte=end).update(outcome=Outcome.UNHEARD, error=error[:255])
    owed.due(timezone.now()).filter(error="").update(error=error[:255])


def heard(request: ApprovalRequest) -> None:
    """Note that the agent has the decision, where this house runs the agent itself.

    The signal is sent once all the same: others read the keys that are set with it.
    """
    owed = OutboxEntry.objects.pending().filter(request=request)
    # In this order: an attempt that ends in between sees the first, or is seen by the second.
    owed.update(heard_at=timezone.now())
    owed.filter(attempts__gt=0, error="").update(outcome=Outcome.DELIVERED)


def outcome_of(request_id: str) -> str:
    """Return what has become of the request's signal so far, or '' if it has none."""
    found = OutboxEntry.objects.filter(request__request_id=request_id)
    return found.values_list("outcome", flat=True).first() or ""


def is_held_up(request_id: str) -> bool:
    """Say whether Redis has not been reached yet with the request's signal."""
    found = OutboxEntry.objects.pending().filter(request__request_id=request_id)
    return found.filter(Q(attempts=0) | ~Q(error="")).exists()


def current_signal(session_id: str) -> str | None:
    """Return what the session's signal key would hold if Redis were there to ask."""
    newest = ApprovalRequest.objects.filter(session_id=session_id).newest_first().first()
    since = timezone.now() - timedelta(seconds=signalling.SIGNAL_TTL)
    entry = OutboxEntry.objects.filter(request=newest, created_at__gt=since).first()
    return entry.signal if newest and entry else None


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


def _attempt(entry: OutboxEntry, asked_at: float, *, is_newest: bool) -> _Attempt:
    request = entry.request
    if not is_newest:
        signalling.refresh(request)
        return _Attempt(Outcome.SUPERSEDED)
    try:
        receivers = signalling.publish(
            request, entry.signal, seconds=max(1, round(_left(entry))), asked_at=asked_at
        )
    except signalling.TooLate:
        return _Attempt(Outcome.PENDING, error="Redis answered too late", is_away=True)
    except signalling.Superseded as superseded:
        return _Attempt(_unless_told_late(request, superseded.named))
    except ResponseError as exc:
        # A key of another kind, say: this signal's own trouble, and no other's.
        return _Attempt(Outcome.PENDING, error=str(exc))
    return _Attempt(Outcome.DELIVERED if receivers else Outcome.PENDING, receivers)


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


def _note(attempts: Sequence[tuple[OutboxEntry, _Attempt]]) -> None:
    now = timezone.now()
    with transaction.atomic():
        for entry, attempt in attempts:
            pause = _LONGEST_PAUSE
            if attempt.is_away:
                pause = _FIRST_PAUSE  # another relay's link may be whole
            elif entry.attempts < _DOUBLINGS:
                pause = _FIRST_PAUSE * 2**entry.attempts
            # Only a pending entry: `heard` or another relay may have settled it meanwhile.
            OutboxEntry.objects.pending().filter(pk=entry.pk).update(
                attempts=F("attempts") + 1,
                attempted_at=now,
                due_at=now + timedelta(seconds=pause),
                receivers=F("receivers") + attempt.receivers,
                outcome=attempt.outcome,
                error=attempt.error[:255],
            )
            metrics.signals.labels(str(attempt.outcome)).inc()
        reached = [entry.pk for entry, attempt in attempts if not attempt.error]
        heard_meanwhile = OutboxEntry.objects.pending().filter(pk__in=reached)
        heard_meanwhile.exclude(heard_at=None).update(outcome=Outcome.DELIVERED)
