"""What becomes of signals that Redis has lost in a restart, or cannot be given."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Q

from dwp_project import clocks
from hitl.delivery import keys as redis_keys
from hitl.delivery import outbox
from hitl.models import OutboxEntry
from hitl.states import DeliveryOutcome, Origin

# How long a signal that Redis has counted as received may take to reach its subscriber. Chosen:
# delivery.md promises that what Redis published in its last second is sent again.
_IN_FLIGHT = timedelta(seconds=1)
# How soon Redis must be back for a signal that was in flight to be sent again. Chosen: as long as a
# restart by a supervisor takes.
_SOON_BACK = timedelta(seconds=4.5)
# Entries that one UPDATE marks while Redis is away. Chosen.
_NOTED_AT_ONCE = 200


def note_redis_away(error: str) -> None:
    """Record why nothing can be sent from here, and give up entries that are too old."""
    due = OutboxEntry.objects.due(clocks.now())
    end = clocks.now() - timedelta(seconds=redis_keys.SIGNAL_TTL)
    with transaction.atomic():
        for entries, change in (
            (
                due.filter(created_at__lte=end, withheld_until__isnull=False, published_at=None),
                {"outcome": DeliveryOutcome.WITHHELD},
            ),
            (due.filter(created_at__lte=end, receivers=0), {"outcome": DeliveryOutcome.UNHEARD}),
            (
                due.filter(created_at__lte=end, receivers__gt=0),
                {"outcome": DeliveryOutcome.DELIVERED},
            ),
            (due.filter(error=""), {}),
        ):
            pks = [entry.pk for entry in outbox.unlocked_of(entries)[:_NOTED_AT_ONCE]]
            OutboxEntry.objects.filter(pk__in=pks).update(error=error[:255], **change)


def requeue_lost(began_at: datetime, alive_at: datetime | None = None) -> int:
    """Make due again what Redis lost when it restarted at `began_at`; return how many. Before that
    it was last known to answer at `alive_at`.

    A restart loses the keys of the last five minutes. Redis may have counted its last signals as
    received without sending them: those are sent until somebody receives them, to agents on Redis
    only if it was soon back. What an agent on Redis has received is not sent again: it may have
    asked a new question since, which Redis lost before any process here read it.
    """
    now = clocks.now()
    since = now - timedelta(seconds=redis_keys.SIGNAL_TTL)
    recent = OutboxEntry.objects.filter(created_at__gt=since)
    # From here on they are as lost as others that were received.
    outbox.update_locked(
        recent.pending().filter(is_repeated=True),
        outcome=DeliveryOutcome.DELIVERED,
        is_repeated=False,
    )
    lost = recent.filter(outcome=DeliveryOutcome.DELIVERED)
    before = lost.filter(attempted_at__lt=began_at)
    newest = before.aggregate(newest=Max("attempted_at"))["newest"] or began_at
    lived_to = max(newest, alive_at or newest)
    received = Q(attempted_at__gte=began_at) | Q(attempted_at__lt=lived_to - _IN_FLIGHT)
    # A repeat may have been in flight of what was received before.
    received |= Q(receivers__gt=0, answered_at__lt=lived_to - _IN_FLIGHT)
    # How long Redis lived on after this deployment last reached it is not known, and its agent may
    # have asked anew meanwhile: an answer that is not certain to be its own is not sent.
    uncertain = Q(attempted_at__lt=began_at - _SOON_BACK)
    agents = Q(request__origin=Origin.REDIS)
    # So is one of a process that froze or died between sending its first publication and recording
    # it, if Redis lived on after the decision.
    outbox.update_locked(
        recent.pending().filter(
            agents,
            attempts=0,
            error="",
            created_at__lte=lived_to,
            created_at__lt=began_at - _SOON_BACK,
        ),
        outcome=DeliveryOutcome.UNHEARD,
    )
    # Nobody knows whether its agent still waits: it counts as unanswered.
    in_flight = lost.filter(~received & uncertain & agents)
    outbox.update_locked(
        in_flight,
        receivers=0,
        answered_at=None,
        first_heard_at=None,
        outcome=DeliveryOutcome.UNHEARD,
    )
    lost = lost.exclude((received | uncertain) & agents)
    with transaction.atomic():
        lost = lost.filter(pk__in=outbox.lock(lost))
        lost.filter(received, heard_at=None).update(heard_at=F("attempted_at"))
        return lost.update(outcome=DeliveryOutcome.PENDING, due_at=now, owner=None)
