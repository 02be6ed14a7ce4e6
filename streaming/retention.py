"""How long events are kept. Sessions stay, without their events: who asked what, and its end."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from streaming.models import Event

_BATCH = 1_000


def remove_old(*, now: datetime | None = None, limit: int = 200_000) -> int:
    """Remove events that are older than `settings.DWP_EVENT_RETENTION` days, the oldest first,
    at most about `limit`; return how many. With 0 days, none.

    Any number of processes may do this at once.
    """
    if settings.DWP_EVENT_RETENTION == 0:
        return 0
    before = (now or timezone.now()) - timedelta(days=settings.DWP_EVENT_RETENTION)
    removed = 0
    while removed < limit and (count := _remove_batch(before)) is not None:
        removed += count
    return removed


def _remove_batch(before: datetime) -> int | None:
    """Remove the oldest events of all sessions up to the first that is kept; None if there are
    none.

    By key, which rises within a session like its sequence does: so only a session's beginning
    ever goes, and what is kept has no gap.
    """
    newest = None
    for pk, created_at in Event.objects.order_by("pk").values_list("pk", "created_at")[:_BATCH]:
        if created_at >= before:
            break
        newest = pk
    if newest is None:
        return None
    # One statement, short enough that nobody waits long for SQLite's one lock.
    return Event.objects.filter(pk__lte=newest).delete()[0]
