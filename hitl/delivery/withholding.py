"""Says which signals must not be sent: those of older requests, and approvals that another agent
of the session could take for its own (docs/reference/wire.md, 5.3; ADR 0040).

An agent on Redis takes the first message on its session's channel, whatever request it names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction

from dwp_project import clocks, wakeup
from dwp_project.wakeup import redis_may_be_away
from hitl.delivery import attempts, outbox, redis_state
from hitl.delivery import keys as redis_keys
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome, Origin, Status

# How long after its question an agent on Redis may be waiting: 300 s that began after it was
# written (wire.md, 5.3).
WAITING = timedelta(seconds=310)
# How long the agent of the approved request waits itself.
_TERM = timedelta(seconds=redis_keys.SIGNAL_TTL)


# A request of an agent on Redis is so old before an approval of it is published: by then whoever
# asked before it has subscribed (wire.md, 5.3).
_YOUNGEST = timedelta(seconds=2)
# How much later than its question a scan must have begun to have met every older question: the
# writes of two agents may interleave, and the clocks of Redis and the database differ.
_SCAN_MARGIN = timedelta(seconds=0.25)
# How long after that a scan is asked for that nobody has made by itself. Chosen.
_SCAN_PAUSE = timedelta(seconds=0.2)
# How soon a scan is asked for again: who was asked may be gone. Chosen.
_ASKED_AGAIN = timedelta(seconds=2)
# The wake-up topic that asks for a scan of all requests in Redis.
SCAN_TOPIC = "scan"

# As SQL, because each attempt asks it: to build it takes five times as long as to answer it.
# An older question is answered if its signal was received, or published again over 10 s.
_STATEMENT = """
    SELECT request.id,
           EXISTS (
           SELECT 1 FROM hitl_approvalrequest newer
            WHERE newer.session_id = request.session_id
              AND (newer.created_at > request.created_at
                   OR newer.created_at = request.created_at AND newer.id > request.id)),
           CASE WHEN request.origin = 'redis' THEN (
           SELECT MAX(older.created_at) FROM hitl_approvalrequest older
             LEFT JOIN hitl_outboxentry answer ON answer.request_id = older.id
            WHERE older.session_id = request.session_id
              AND older.created_at > %s
              AND older.created_at <= request.created_at
              AND (older.created_at < request.created_at OR older.id < request.id)
              AND older.origin = 'redis'
              AND (answer.id IS NULL OR answer.receivers = 0 AND answer.answered_at IS NULL)) END,
           CASE WHEN request.origin = 'redis' THEN (
           SELECT owner.disputed_until FROM hitl_sessionowner owner
            WHERE owner.session_id = request.session_id) END
      FROM hitl_approvalrequest request
     WHERE request.id IN (%s)"""


class Withholding(NamedTuple):
    """Whether the session has a newer request, and until when an agent may be waiting for an older
    question of the session, which would take an approval of this one for its own."""

    is_outdated: bool
    until: datetime | None


def read(request_pks: Collection[int], now: datetime) -> dict[int, Withholding]:
    """Return what keeps back the signals of these requests, by their keys.

    Newer and older by time, not by row: requests that agents wrote to Redis are adopted in any
    order.
    """
    if not request_pks:
        return {}
    since = connection.ops.adapt_datetimefield_value(now - WAITING)
    statement = _STATEMENT % ("%s", ", ".join(["%s"] * len(request_pks)))
    with connection.cursor() as cursor:
        cursor.execute(statement, [since, *request_pks])
        rows = cursor.fetchall()
    withholdings = {}
    for pk, is_outdated, older_at, disputed_until in rows:
        ends = [outbox.as_moment(older_at) + WAITING] if older_at is not None else []
        if disputed_until is not None:
            ends.append(outbox.as_moment(disputed_until))
        until = max((end for end in ends if end > now), default=None)
        withholdings[pk] = Withholding(bool(is_outdated), until)
    return withholdings


def expected(requests: Iterable[ApprovalRequest], now: datetime) -> dict[int, datetime]:
    """Return until when approvals would be withheld that are given now, by the requests' keys,
    without those that would not. With Redis away only the database is asked."""
    sessions = {
        request.pk: request.session_id
        for request in requests
        if request.status == Status.PENDING and request.origin == Origin.REDIS
    }
    unadopted: dict[str, datetime] = {}
    if sessions:
        with redis_may_be_away("redis_away"):
            unadopted = redis_state.unadopted(set(sessions.values()))
    expected = {}
    for pk, (_, until) in read(sessions, now).items():
        ends = [end for end in (until, unadopted.get(sessions[pk])) if end is not None]
        if ends and max(ends) > now:
            expected[pk] = max(ends)
    return expected


def is_for_good(until: datetime, created_at: datetime) -> bool:
    """Say whether the agent of a request that was opened at `created_at` has stopped waiting by
    `until`: then its approval is never sent."""
    return until >= created_at + _TERM


def kept_back(
    entries: Sequence[OutboxEntry], look: redis_state.Look
) -> dict[int, attempts.AttemptResult]:
    """Return what becomes of the entries that must not be published now: a newer request of their
    session exists, or another agent may take an approval for its own (wire.md, 5.3)."""
    now = clocks.now()
    withholdings = read([entry.request_id for entry in entries], now)
    kept_back: dict[int, attempts.AttemptResult] = {}
    for entry in entries:
        is_outdated, until = withholdings[entry.request_id]
        if is_outdated:
            outcome = final_outcome(entry, DeliveryOutcome.SUPERSEDED)
            kept_back[entry.pk] = attempts.AttemptResult(outcome)
        elif outbox.is_guarded(entry):
            unadopted = look.unadopted.get(entry.request.session_id)
            ends = [end for end in (until, unadopted) if end is not None and end > now]
            result = _result_if_withheld(entry, max(ends, default=None), now)
            result = result or _result_before_scan(entry, look.scanned_at, now)
            if result is not None:
                kept_back[entry.pk] = result
    return kept_back


def _result_if_withheld(
    entry: OutboxEntry, until: datetime | None, now: datetime
) -> attempts.AttemptResult | None:
    """Return what becomes of an approval if others may be waiting `until` then, or if they were for
    so long that its own agent has stopped waiting."""
    opened_at = entry.request.created_at
    is_final = is_for_good(until or now, opened_at)
    if until is not None and not (is_final or entry.receivers):
        return attempts.AttemptResult(DeliveryOutcome.PENDING, withheld_until=until, due_at=until)
    if until is not None or (is_final and entry.is_withheld):
        outcome = final_outcome(entry, DeliveryOutcome.WITHHELD)
        return attempts.AttemptResult(outcome, withheld_until=until)
    return None


def _result_before_scan(
    entry: OutboxEntry, scanned_at: datetime | None, now: datetime
) -> attempts.AttemptResult | None:
    """Return what becomes of an approval until Redis has been scanned since its question: before
    that nobody here knows of an older one."""
    opened_at = entry.request.created_at
    scan_from = opened_at + _SCAN_MARGIN
    is_scanned = scanned_at is not None and scanned_at >= scan_from
    if entry.published_at is not None or (is_scanned and now >= opened_at + _YOUNGEST):
        return None
    is_young = now < opened_at + _YOUNGEST
    due_at = opened_at + _YOUNGEST if is_young else now + _ASKED_AGAIN
    if not is_scanned and now < scan_from:
        due_at = scan_from + _SCAN_PAUSE
    return attempts.AttemptResult(
        DeliveryOutcome.PENDING,
        # Not longer, even if a clock is wrong.
        due_at=min(due_at, now + _ASKED_AGAIN),
        needs_scan=not is_scanned and now >= scan_from,
    )


def resume_after_scan(began_at: datetime) -> None:
    """Have the approvals sent at once that wait for a scan which began then."""
    if _make_due(min(began_at - _SCAN_MARGIN, clocks.now() - _YOUNGEST)):
        wakeup.publish(outbox.TOPIC)


def final_outcome(entry: OutboxEntry, outcome: DeliveryOutcome) -> DeliveryOutcome:
    """Return how an entry ends: a signal that was received once stays delivered, even if Redis
    has lost it since."""
    return DeliveryOutcome.DELIVERED if entry.receivers else outcome


def _make_due(opened_by: datetime) -> int:
    """Make due the approvals that wait for a scan of Redis and whose requests were opened by then;
    return how many."""
    now = clocks.now()
    waiting = OutboxEntry.objects.pending().filter(
        due_at__gt=now,
        attempts__gt=0,
        published_at=None,
        withheld_until=None,
        request__origin=Origin.REDIS,
        request__status=Status.APPROVED,
        request__created_at__lte=opened_by,
    )
    with transaction.atomic():
        pks = outbox.lock(waiting)
        return OutboxEntry.objects.pending().filter(pk__in=pks).update(due_at=now, owner=None)
