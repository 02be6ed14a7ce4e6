"""Signals on their way to agents: written with the decision, due again until an agent has
heard, and what came of each (docs/reference/wire.md, 5.2 and 5.3).

`hitl.delivery.publisher` sends them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Max, Q
from django.utils import timezone
from structlog.stdlib import get_logger

from dwp_project.jsontext import compact
from hitl import metrics
from hitl.delivery import keys as redis_keys
from hitl.delivery.wire import signal
from hitl.models import ApprovalRequest, OutboxEntry, OutboxQuerySet
from hitl.states import DeliveryOutcome, Origin

logger = get_logger(__name__)

# The wake-up topic on which relays are told that something must be sent again.
TOPIC = "outbox"
# How long the deciding process has to publish before a relay may.
_FAST_PATH = timedelta(seconds=1)
# A relay that dies with entries in its hands gives them back after this.
_TAKEN_FOR = timedelta(seconds=3)
# At most 5 s apart (wire.md, 5.2): what else a relay has to do comes on top of the pause.
_NOTED_AT_ONCE = 200
# What Redis has said it published may take so long to reach a subscriber.
_IN_FLIGHT = timedelta(seconds=1)
_FIRST_PAUSE, _LONGEST_PAUSE, _DOUBLINGS = 0.1, 4.0, 6


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one attempt to publish; `error` says why there was none, `is_away` that
    Redis was not reached from here."""

    outcome: DeliveryOutcome
    receivers: int = 0
    error: str = ""
    is_away: bool = False
    # It came too late and did nothing: it is no attempt at all.
    is_late: bool = False
    # The session's key named a question before this one: nothing was published.
    is_withheld: bool = False


def enqueue(request: ApprovalRequest, now: datetime) -> OutboxEntry:
    """Keep the signal of a decided request, in the decision's transaction."""
    return OutboxEntry.objects.create(
        request=request, signal=compact(signal(request)), created_at=now, due_at=now + _FAST_PATH
    )


def take_due(now: datetime, limit: int) -> list[OutboxEntry]:
    """Return up to `limit` entries to send now, withheld from other relays meanwhile.

    Of their requests they bring the names only: most wait for somebody to listen, and `loaded`
    fetches the rest for those that are sent.
    """
    due = OutboxEntry.objects.due(now).select_related("request").order_by("due_at")
    due = due.only(
        *("signal", "created_at", "attempts", "receivers"),
        *("request__session_id", "request__request_id"),
    )
    with transaction.atomic():
        taken = list(_unlocked(due)[:limit])
        if taken:
            OutboxEntry.objects.filter(pk__in=[entry.pk for entry in taken]).update(
                due_at=now + _TAKEN_FOR
            )
    return taken


def load_requests(entries: Sequence[OutboxEntry]) -> list[OutboxEntry]:
    """Return the entries with everything of their requests."""
    bare = [entry.pk for entry in entries if entry.request.get_deferred_fields()]
    found = OutboxEntry.objects.select_related("request__policy").in_bulk(bare) if bare else {}
    return [found.get(entry.pk, entry) for entry in entries]


def requeue_lost(began_at: datetime, alive_at: datetime | None = None) -> int:
    """Send once more what a Redis that runs since `began_at` has lost; return how many. The one
    before was last known to answer at `alive_at`.

    The keys of the last five minutes go with its memory. And what the one before published last
    it may have counted as received and never sent: that is owed until somebody receives it.
    What an agent on Redis has received is not sent again: since then it may have asked something
    that this Redis has forgotten before anybody here has seen it.
    """
    now = timezone.now()
    since = now - timedelta(seconds=redis_keys.SIGNAL_TTL)
    lost = OutboxEntry.objects.filter(outcome=DeliveryOutcome.DELIVERED, created_at__gt=since)
    before = lost.filter(attempted_at__lt=began_at)
    newest = before.aggregate(newest=Max("attempted_at"))["newest"] or began_at
    lived_to = max(newest, alive_at or newest)
    received = Q(attempted_at__gte=began_at) | Q(attempted_at__lt=lived_to - _IN_FLIGHT)
    lost = lost.exclude(received & Q(request__origin=Origin.REDIS))
    with transaction.atomic():
        lost = lost.filter(pk__in=_lock(lost))
        lost.filter(received, heard_at=None).update(heard_at=F("attempted_at"))
        return lost.update(outcome=DeliveryOutcome.PENDING, due_at=now)


def next_due() -> datetime | None:
    """Return when the next pending entry may be sent again."""
    return OutboxEntry.objects.pending().order_by("due_at").values_list("due_at", flat=True).first()


def note_redis_away(error: str) -> None:
    """Note why nothing can be sent from here, and give up what is too old to be sent."""
    due = OutboxEntry.objects.due(timezone.now())
    end = timezone.now() - timedelta(seconds=redis_keys.SIGNAL_TTL)
    with transaction.atomic():
        for found, change in (
            (due.filter(created_at__lte=end, receivers=0), {"outcome": DeliveryOutcome.UNHEARD}),
            (
                due.filter(created_at__lte=end, receivers__gt=0),
                {"outcome": DeliveryOutcome.DELIVERED},
            ),
            (due.filter(error=""), {}),
        ):
            keys = [entry.pk for entry in _unlocked(found)[:_NOTED_AT_ONCE]]
            OutboxEntry.objects.filter(pk__in=keys).update(error=error[:255], **change)


def _unlocked(entries: OutboxQuerySet) -> OutboxQuerySet:
    """Return those that no other process has in its hands, locked; SQLite has one writer."""
    if connection.features.has_select_for_update_skip_locked:
        return entries.select_for_update(skip_locked=True, of=("self",))
    return entries


def _lock(entries: OutboxQuerySet) -> list[int]:
    """Lock the entries in the order in which everybody does; return their keys.

    A relay that was slow may hold some that another has taken since: each would wait for the
    other.
    """
    locked = entries.order_by("pk").select_for_update(of=("self",))
    return list(locked.values_list("pk", flat=True))


def mark_heard(request: ApprovalRequest) -> None:
    """Note that the agent has the decision, where this house runs the agent itself.

    The signal is sent once all the same: others read the keys that are set with it.
    """
    owed = OutboxEntry.objects.pending().filter(request=request)
    # In this order: an attempt that ends in between sees the first, or is seen by the second.
    owed.update(heard_at=timezone.now())
    owed.filter(attempts__gt=0, error="").update(outcome=DeliveryOutcome.DELIVERED)


def outcome_of(request_id: str) -> str:
    """Return what has become of the request's signal so far, or '' if it has none."""
    found = OutboxEntry.objects.filter(request__request_id=request_id)
    return found.values_list("outcome", flat=True).first() or ""


def is_waiting_for_redis(request_id: str) -> bool:
    """Say whether Redis has not been reached yet with the request's signal."""
    found = OutboxEntry.objects.pending().filter(request__request_id=request_id)
    return found.filter(Q(attempts=0) | ~Q(error="")).exists()


def current_signal(session_id: str) -> str | None:
    """Return what the session's signal key would hold if Redis were there to ask."""
    newest = ApprovalRequest.objects.filter(session_id=session_id).newest_first().first()
    since = timezone.now() - timedelta(seconds=redis_keys.SIGNAL_TTL)
    entry = OutboxEntry.objects.filter(request=newest, created_at__gt=since).first()
    return entry.signal if newest and entry else None


def record_attempts(attempts: Sequence[tuple[OutboxEntry, AttemptResult]]) -> None:
    """Write down what came of each attempt, and when the next is due; alike ones at once."""
    now = timezone.now()
    alike = defaultdict(list)
    for entry, attempt in attempts:
        alike[attempt, min(entry.attempts, _DOUBLINGS)].append(entry.pk)
    with transaction.atomic():
        if len(attempts) > 1:
            _lock(OutboxEntry.objects.filter(pk__in=[entry.pk for entry, _ in attempts]))
        for (attempt, before), keys in alike.items():
            pause = _FIRST_PAUSE * 2**before if before < _DOUBLINGS else _LONGEST_PAUSE
            if attempt.is_away:
                pause = _FIRST_PAUSE  # another relay's link may be whole
            if attempt.is_late:
                pause = 0.0
            # Only pending entries: `heard` or another relay may have settled one meanwhile.
            OutboxEntry.objects.pending().filter(pk__in=keys).update(
                attempts=F("attempts") + (0 if attempt.is_late else 1),
                attempted_at=now,
                due_at=now + timedelta(seconds=pause),
                receivers=F("receivers") + attempt.receivers,
                outcome=attempt.outcome,
                error=attempt.error[:255],
            )
            metrics.signals.labels(str(attempt.outcome)).inc(len(keys))
        reached = [
            entry.pk
            for entry, attempt in attempts
            if not (attempt.error or attempt.is_late or attempt.is_withheld)
        ]
        heard_meanwhile = OutboxEntry.objects.pending().filter(pk__in=reached)
        heard_meanwhile.exclude(heard_at=None).update(outcome=DeliveryOutcome.DELIVERED)
