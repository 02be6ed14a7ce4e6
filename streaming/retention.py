"""Removes old events. Their sessions stay: who sent which prompt, and how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from dwp_project import clocks
from streaming.models import Event

# How many events one statement removes. Chosen: short enough that nobody waits long for SQLite's
# one write lock.
_BATCH = 1_000


def remove_old(*, now: datetime | None = None, limit: int = 200_000) -> int:
    """Remove events older than `settings.DWP_EVENT_RETENTION` days; return how many.

    The oldest first, at most about `limit` (chosen: what one hourly run may take), and none if
    the setting is 0. Any number of processes may do this at once.
    """
    if settings.DWP_EVENT_RETENTION == 0:
        return 0
    before = (now or clocks.now()) - timedelta(days=settings.DWP_EVENT_RETENTION)
    removed = 0
    while removed < limit and (count := _remove_batch(before)) is not None:
        removed += count
    return removed


def _remove_batch(before: datetime) -> int | None:
    """Remove a batch of the oldest events of all sessions; return how many, or None at the end.

    Removed in the order of their keys, which rise within a session as its sequence does: so a
    session loses events only from its beginning and the rest has no gap.
    """
    last_key = None
    for pk, created_at in Event.objects.order_by("pk").values_list("pk", "created_at")[:_BATCH]:
        if created_at >= before:
            break
        last_key = pk
    if last_key is None:
        return None
    return Event.objects.filter(pk__lte=last_key).delete()[0]
