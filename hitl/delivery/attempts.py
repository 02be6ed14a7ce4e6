"""What came of an attempt to publish an entry, and who goes on with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from dwp_project import clocks, exchange
from hitl import metrics
from hitl.delivery import held, outbox
from hitl.delivery.leases import TERM, lease
from hitl.models import OutboxEntry
from hitl.states import DeliveryOutcome, Origin

# As SQL, because each publication does it: the ORM takes five times as long to build it. What its
# agent has read meanwhile is delivered. A signal counts as answered when a subscriber has received
# it, or it was published again for so long.
_CHANGE = f"""
    UPDATE hitl_outboxentry
       SET attempts = attempts + %s, attempted_at = %s, due_at = %s, owner = {outbox.OWNER},
           receivers = receivers + %s,
           outcome = CASE WHEN heard_at IS NOT NULL THEN %s ELSE %s END,
           error = %s, is_repeated = %s, published_at = COALESCE(published_at, %s),
           answered_at = COALESCE(
               answered_at, %s, CASE WHEN published_at <= %s THEN %s ELSE NULL END),
           withheld_until = COALESCE(%s, withheld_until),
           first_heard_at = COALESCE(first_heard_at, %s)"""  # noqa: S608 - names of this module alone
# Only pending entries: `mark_heard` or another relay may have settled one meanwhile. But what was
# received is delivered, whatever another relay made of it meanwhile.
_RECORD = f"{_CHANGE} WHERE outcome = 'pending'"
_RECORD_RECEIVED = f"{_CHANGE} WHERE outcome <> 'refused'"
# A signal that was published again for so long counts as answered: those who listen by pattern or
# at a replica are never counted (wire.md, 5.3).
_REPEATED_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one attempt to publish; `error` says why nothing was published, `is_away`
    that this process did not reach Redis."""

    outcome: DeliveryOutcome
    receivers: int = 0
    error: str = ""
    is_away: bool = False
    # Redis executed it too late and did nothing: it does not count as an attempt.
    is_late: bool = False
    is_published: bool = False
    # It was received now or before, and goes on being published: its request is so new.
    is_repeated: bool = False
    # Another agent may be waiting until then: nothing was published.
    withheld_until: datetime | None = None
    # When it is worth trying again, if that is not after the usual pause.
    due_at: datetime | None = None
    # Nothing was published before a scan that has to be asked for.
    needs_scan: bool = False

    @property
    def is_unheard(self) -> bool:
        """Whether the signal was published and nobody received it."""
        is_pending = self.outcome is DeliveryOutcome.PENDING
        return is_pending and self.is_published and not self.is_repeated

    @property
    def is_kept(self) -> bool:
        """Whether the process that tried goes on trying, after the usual pause."""
        is_pending = self.outcome is DeliveryOutcome.PENDING
        return is_pending and not (self.due_at or self.is_away or self.is_late)

    @property
    def reported_outcome(self) -> DeliveryOutcome:
        """The outcome as `OutboxEntry.reported_outcome` has it."""
        if self.is_repeated:
            return DeliveryOutcome.DELIVERED
        is_pending = self.outcome is DeliveryOutcome.PENDING
        return DeliveryOutcome.WITHHELD if is_pending and self.withheld_until else self.outcome


def record_attempts(attempts: Sequence[tuple[OutboxEntry, AttemptResult]]) -> None:
    """Write what came of each attempt, and when the next is due; equal ones in one UPDATE. What is
    sent again after a pause is held by this process, if a relay runs in it."""
    now = clocks.now()
    # What is written now was true when it was last written, and was not written at each attempt.
    before = {entry.pk: held.entries.drop(entry.pk) for entry, _ in attempts}
    unwritten = {pk: kept.unwritten for pk, kept in before.items() if kept is not None}
    equal = defaultdict(list)
    for entry, result in attempts:
        more = unwritten.get(entry.pk, 0)
        equal[result, min(entry.attempts + more, held.DOUBLINGS), more].append(entry.pk)
    # One attempt is one statement: a transaction would take two more round trips.
    with transaction.atomic() if len(attempts) > 1 else nullcontext():
        if len(attempts) > 1:
            outbox.lock(OutboxEntry.objects.filter(pk__in=[entry.pk for entry, _ in attempts]))
        for (result, tries, more), pks in equal.items():
            _record(pks, result, tries, now, more)
            metrics.signals.labels(str(result.reported_outcome)).inc(len(pks))
    for entry, result in attempts:
        tries = entry.attempts + unwritten.get(entry.pk, 0)
        _hold(entry, result, tries, now)
        entry.request.sent_outcome = str(result.reported_outcome)


def _record(
    pks: Sequence[int], result: AttemptResult, tries: int, now: datetime, unwritten: int
) -> None:
    """Write the same result of an attempt on each of these entries."""
    is_first_reception = result.is_published and bool(result.receivers)
    is_unheard = result.is_published and not result.receivers
    values = (
        unwritten + (0 if result.is_late else 1),
        now,
        _next_at(result, tries, now),
        outbox.owner_value() if result.is_kept else None,
        result.receivers,
        str(DeliveryOutcome.DELIVERED if result.is_unheard else result.outcome),
        str(result.outcome),
        result.error[:255],
        result.is_repeated,
        now if result.is_published else None,
        now if is_first_reception else None,
        now - _REPEATED_FOR if is_unheard else None,
        now,
        result.withheld_until,
        now if result.receivers else None,
    )
    statement = _RECORD_RECEIVED if result.receivers else _RECORD
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(pks))
        cursor.execute(f"{statement} AND id IN ({marks})", [*map(exchange.adapted, values), *pks])


def _next_at(result: AttemptResult, tries: int, now: datetime) -> datetime:
    """Return when a relay may take an entry that was tried so often before."""
    if result.due_at is not None:
        return result.due_at
    if result.is_late:
        return now
    if result.is_away:
        return now + timedelta(seconds=held.FIRST_PAUSE)  # another relay may reach Redis
    if lease.owner is not None:
        return now + TERM
    return now + timedelta(seconds=held.pause_after(tries))


def _hold(entry: OutboxEntry, result: AttemptResult, tries: int, now: datetime) -> None:
    """Have this process's relay go on with the entry, if that is what the result means."""
    if result.outcome is not DeliveryOutcome.PENDING or lease.owner is None:
        return
    next_at = _next_at(result, tries, now)
    if not result.is_kept:
        held.entries.ring_at(next_at)
        return
    held.entries.keep(
        held.HeldEntry(
            entry.pk,
            attempts=tries + 1,
            due_at=now + timedelta(seconds=held.pause_after(tries)),
            row_due_at=next_at,
            # What agents wrote to Redis has more to be looked at before each attempt.
            is_quiet=result.is_unheard
            and not entry.receivers
            and entry.request.origin != Origin.REDIS,
            session_id=entry.request.session_id,
            request_id=entry.request.request_id,
        )
    )
