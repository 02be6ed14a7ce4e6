"""Says which signals must not be sent: those of older requests, and approvals that another agent
of the session could take for its own (docs/reference/wire.md, 5.3; ADR 0040).

An agent on Redis takes the first message on its session's channel, whatever request it names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from dwp_project.wakeup import redis_may_be_away
from hitl.delivery import keys as redis_keys
from hitl.delivery import redis_state
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

# How long after its question an agent on Redis may be waiting: 300 s that began after it was
# written (wire.md, 5.3).
WAITING = timedelta(seconds=310)
# How long the agent of the approved request waits itself.
_TERM = timedelta(seconds=redis_keys.SIGNAL_TTL)

# Whether a request's session has a newer one, by the request's key.
IS_OUTDATED = """EXISTS (
        SELECT 1 FROM hitl_approvalrequest request
          JOIN hitl_approvalrequest newer ON newer.session_id = request.session_id
         WHERE request.id = %s
           AND (newer.created_at > request.created_at
                OR newer.created_at = request.created_at AND newer.id > request.id))"""

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
        ends = [moment(older_at) + WAITING] if older_at is not None else []
        if disputed_until is not None:
            ends.append(moment(disputed_until))
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


def moment(value: datetime | str) -> datetime:
    """Return a time as the database's driver returns it; SQLite has texts."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
