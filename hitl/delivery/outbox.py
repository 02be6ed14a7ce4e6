"""The outbox: signals are written with their decision, taken when they are due, and due again
until an agent has received them (docs/reference/wire.md, 5.2 and 5.3).

`hitl.delivery.publisher` sends them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, F, Max, Q, Subquery, Value, When
from django.db.models.functions import Coalesce

from dwp_project import clocks, wakeup
from dwp_project.jsontext import compact
from hitl import metrics
from hitl.audit import decision_record, signing
from hitl.audit.hashing import FIRST_SIGNED_FORM
from hitl.audit.record_signatures import trust_of
from hitl.audit.signing import Trust
from hitl.delivery import held, withholding
from hitl.delivery import keys as redis_keys
from hitl.delivery.leases import TERM, lease
from hitl.delivery.redis_clock import RedisReading, redis_clock
from hitl.delivery.wire import signal
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, OutboxQuerySet, RelayLease
from hitl.states import DeliveryOutcome, Origin, Status

# The wake-up topic that tells relays to look at the outbox.
TOPIC = "outbox"
# What such a wake-up carries if it says no more than that this process holds another entry.
HELD = b"held"
# How long the deciding process has to publish before a relay may. Chosen: one call of Redis fails
# within a second.
_FAST_PATH = timedelta(seconds=1)
# How long a signal that Redis has counted as received may take to reach its subscriber. Chosen:
# delivery.md promises that what Redis published in its last second is sent again.
_IN_FLIGHT = timedelta(seconds=1)
# How soon Redis must be back for a signal that was in flight to be sent again. Chosen: as long as a
# restart by a supervisor takes.
_SOON_BACK = timedelta(seconds=4.5)
# An owner without a lease would keep others from the entry for ever.
_OWNER = "(SELECT id FROM hitl_relaylease WHERE id = %s)"
# As SQL, because each publication does it: the ORM takes five times as long to build it. What its
# agent has read meanwhile is delivered. A signal counts as answered when a subscriber has received
# it, or it was published again for so long.
_CHANGE = f"""
    UPDATE hitl_outboxentry
       SET attempts = attempts + %s, attempted_at = %s, due_at = %s, owner = {_OWNER},
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
# Entries of which a look returns the keys: more than are taken at once, for others take some too.
LOOKED_AT = 500
# Entries that one UPDATE marks while Redis is away. Chosen.
_NOTED_AT_ONCE = 200
# The error of an entry that is not sent, because no record that is trusted here has its decision.
NOT_VOUCHED_FOR = "the audit does not have this decision"
# The columns that a decision sets, also in an entry that was there before.
_COLUMNS = (
    *("record_id", "signal", "created_at", "due_at", "attempts", "receivers", "outcome"),
    *("attempted_at", "heard_at", "error"),
    *("published_at", "answered_at", "withheld_until", "is_repeated", "first_heard_at"),
)
_INSERTED = ("request_id", *_COLUMNS)
# As SQL, because each decision does it. Newer is what `withholding` says.
_INSERT = f"""
    INSERT INTO hitl_outboxentry ({", ".join(_INSERTED)}, owner)
    VALUES ({", ".join(["%s"] * len(_INSERTED))}, {_OWNER})
    ON CONFLICT (request_id) DO UPDATE
       SET {", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS, "owner"))}
    RETURNING id, {withholding.IS_OUTDATED}"""  # noqa: S608 - names of this module alone
# What was sent, and read by who asked, is delivered (`note_first_heard`).
_DELIVERED_IF_SENT = Case(
    When(
        outcome=DeliveryOutcome.PENDING,
        attempts__gt=0,
        error="",
        then=Value(DeliveryOutcome.DELIVERED),
    ),
    default=F("outcome"),
)
# A signal that was published again for so long counts as answered: those who listen by pattern or
# at a replica are never counted (wire.md, 5.3).
_REPEATED_FOR = timedelta(seconds=10)
# Large columns that no signal is derived from.
UNNEEDED_UNTIL_SENT = ("message", "context_text")
# What a relay may take: what nobody owns, and what owners have whose lease has ended; and beside
# that what this process itself owns, because it may not know of each.
_LOOK = """
    SELECT free.id, free.due_at, 0 FROM (
           SELECT id, due_at FROM hitl_outboxentry
            WHERE outcome = 'pending' AND owner IS NULL AND due_at <= %s
            ORDER BY due_at LIMIT %s) free
     UNION ALL
    SELECT left_over.id, left_over.due_at, 0 FROM (
           SELECT entry.id, entry.due_at FROM hitl_relaylease lease
             JOIN hitl_outboxentry entry ON entry.owner = lease.id
            WHERE lease.ends_at <= %s AND entry.outcome = 'pending' AND entry.due_at <= %s
            ORDER BY entry.due_at LIMIT %s) left_over
     UNION ALL
    SELECT id, due_at, 1 FROM hitl_outboxentry
     WHERE outcome = 'pending' AND owner = %s AND due_at <= %s"""


class NewEntry(NamedTuple):
    """An entry that was just written, what Redis's time was before, if that is known, and whether
    the session had a newer request then."""

    entry: OutboxEntry
    asked_at: RedisReading | None
    is_outdated: bool


class Answer(NamedTuple):
    """When who opened a request over REST was answered with its decision, and whether that may be
    taken for its agent."""

    at: datetime
    is_to_agent: bool


class OutboxLook(NamedTuple):
    """The keys of entries that may be taken, the first due first, and when those are due that this
    process owns."""

    free: list[int]
    own: dict[int, datetime]


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


def enqueue(request: ApprovalRequest, record: AuditRecord, now: datetime) -> NewEntry:
    """Write the entry of a decided request and of the decision's record, in its transaction.

    An entry that somebody wrote before the decision was made is replaced. The same statement says
    whether the session has a newer request, so that nothing has to be asked before the signal is
    sent.
    """
    entry = OutboxEntry(
        request=request,
        record=record,
        signal=compact(signal(request)),
        created_at=now,
        due_at=now + _FAST_PATH,
    )
    asked_at = redis_clock.known()
    values = [_adapted(getattr(entry, name)) for name in _INSERTED]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [*values, owner_value(), request.pk])
        entry.pk, is_outdated = cursor.fetchone()
    entry._state.adding = False
    return NewEntry(entry, asked_at, bool(is_outdated))


def wake_relay() -> None:
    """Have an entry sent again that was just tried: by this process's relay if it has one."""
    if lease.owner is None:
        wakeup.publish(TOPIC)
    else:
        wakeup.publish_here(TOPIC, HELD)


def owner_value() -> Any:
    """Return this process's key as owner, as a parameter of a statement."""
    return OutboxEntry._meta.get_field("owner").get_db_prep_value(lease.owner, connection)


def _owner() -> Subquery | None:
    """Return what to write as owner: this process, if it has a lease."""
    return (
        None
        if lease.owner is None
        else Subquery(RelayLease.objects.filter(pk=lease.owner).values("pk"))
    )


def _adapted(value: Any) -> Any:
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def text_of(entry: OutboxEntry) -> str:
    """Return the signal of the entry's decided request: the exact bytes of every publication,
    first or repeated (wire.md, 5.2)."""
    return compact(signal(entry.request))


def unvouched(entries: Sequence[OutboxEntry]) -> set[int]:
    """Return the keys of the entries that must not be sent: their request is not decided, or the
    record of the decision does not say what its row says."""
    # The version before writes no reference: its records are searched for, in one query.
    unlinked = [entry.request for entry in entries if entry.record is None]
    recorded = decision_record.recorded(unlinked)
    return {
        entry.pk
        for entry in entries
        if not entry.request.is_decided
        or not (
            entry.request_id in recorded
            if entry.record is None
            else decision_record.says_so(entry.record, entry.request)
        )
    }


def is_by_unknown_key(entry: OutboxEntry) -> bool:
    """Say whether a key that is not trusted here signed the record of the decision."""
    record = entry.record
    if record is None or record.form < FIRST_SIGNED_FORM:
        return False
    return trust_of(record, signing.trusted_keys()) is Trust.UNKNOWN


def look(now: datetime, limit: int) -> OutboxLook:
    """Return up to `limit` entries that may be taken, and all that are due and this process's; one
    statement."""
    moment = _adapted(now)
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [moment, limit, moment, moment, limit, owner_value(), moment])
        rows = cursor.fetchall()
    free = sorted((withholding.moment(due_at), pk) for pk, due_at, is_own in rows if not is_own)
    own = {pk: withholding.moment(due_at) for pk, due_at, is_own in rows if is_own}
    return OutboxLook([pk for _, pk in free[:limit]], own)


def take_due(now: datetime, limit: int, looked: OutboxLook | None = None) -> list[OutboxEntry]:
    """Return up to `limit` entries to send now, and keep other relays from them meanwhile. `looked`
    is what `look` has returned.

    Their requests are read without what people are shown: most entries wait for somebody to
    listen. `load_requests` reads the rest for those that are sent.
    """
    free = (looked or look(now, LOOKED_AT)).free
    if not free:
        return []
    due = _light(OutboxEntry.objects.due(now).filter(pk__in=free)).order_by("due_at")
    with transaction.atomic():
        taken = list(_unlocked(due)[:limit])
        if taken:
            OutboxEntry.objects.filter(pk__in=[entry.pk for entry in taken]).update(
                due_at=now + TERM, owner=_owner()
            )
    return taken


def own(pks: Sequence[int]) -> list[OutboxEntry]:
    """Return those of the entries that are pending and still this process's, as `take_due` does."""
    if not pks or lease.owner is None:
        return []
    entries = OutboxEntry.objects.pending().filter(pk__in=pks, owner=lease.owner)
    return list(_light(entries).order_by("pk"))


def give_back() -> None:
    """Own nothing any more, so that other processes send it at once."""
    if lease.owner is not None:
        _update_locked(
            OutboxEntry.objects.pending().filter(owner=lease.owner), owner=None, due_at=clocks.now()
        )


def _light(entries: OutboxQuerySet) -> OutboxQuerySet:
    deferred = ("signal", *(f"request__{name}" for name in UNNEEDED_UNTIL_SENT))
    return entries.select_related("request", "record").defer(*deferred)


def load_requests(entries: Sequence[OutboxEntry]) -> list[OutboxEntry]:
    """Return the entries with everything of their requests."""
    partial = [entry.pk for entry in entries if entry.request.get_deferred_fields()]
    whole = (
        OutboxEntry.objects.select_related("request__policy", "record").in_bulk(partial)
        if partial
        else {}
    )
    return [whole.get(entry.pk, entry) for entry in entries]


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
            _lock(OutboxEntry.objects.filter(pk__in=[entry.pk for entry, _ in attempts]))
        for (result, tries, more), pks in equal.items():
            _record(pks, result, tries, now, more)
            metrics.signals.labels(str(result.reported_outcome)).inc(len(pks))
    for entry, result in attempts:
        tries = entry.attempts + unwritten.get(entry.pk, 0)
        _hold(entry, result, tries, now)


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
        owner_value() if result.is_kept else None,
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
        cursor.execute(f"{statement} AND id IN ({marks})", [*map(_adapted, values), *pks])


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


def _first_heard(moment: datetime) -> Coalesce:
    return Coalesce("first_heard_at", Value(moment))


def make_due_after_scan(opened_by: datetime) -> int:
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
        pks = _lock(waiting)
        return OutboxEntry.objects.pending().filter(pk__in=pks).update(due_at=now, owner=None)


def mark_heard(request: ApprovalRequest) -> None:
    """Record that the agent has the decision without the signal, because it runs here.

    The signal is sent once all the same: others read the keys that are set with it.
    """
    now = clocks.now()
    entries = OutboxEntry.objects.filter(request=request)
    # In this order: an attempt that ends in between sees the first, or is seen by the second.
    entries.filter(Q(outcome=DeliveryOutcome.PENDING) | Q(first_heard_at=None)).update(
        heard_at=now, first_heard_at=_first_heard(now)
    )
    pending = entries.pending().filter(attempts__gt=0, error="")
    pending.update(outcome=DeliveryOutcome.DELIVERED)


def note_first_heard(answers: Mapping[int, Answer]) -> set[int]:
    """Write when those who opened requests over REST first had the decisions on them, by the
    requests' keys, unless that is known. What their agents have heard is not repeated.

    A signal that was not sent yet is sent once. Waits for nobody: returns the keys of the requests
    whose entries another process has locked.
    """
    unknown = OutboxEntry.objects.filter(
        request_id__in=[*answers], first_heard_at=None, heard_at=None, receivers=0
    )
    with transaction.atomic():
        unlocked = dict(_unlocked(unknown).values_list("pk", "request_id"))
        to_agents = [pk for pk, key in unlocked.items() if answers[key].is_to_agent]
        for pks, is_heard in ((to_agents, True), (unlocked.keys() - {*to_agents}, False)):
            times = [When(pk=pk, then=Value(answers[unlocked[pk]].at)) for pk in pks]
            if times:
                heard_at = Case(*times, default=None)
                change: dict[str, Any] = {"first_heard_at": heard_at}
                if is_heard:
                    change |= {"heard_at": heard_at, "outcome": _DELIVERED_IF_SENT}
                    change["attempts"] = F("attempts") + _unwritten(pks)
                OutboxEntry.objects.filter(pk__in=pks).update(**change)
    for pk in to_agents:
        held.entries.drop(pk)
    if not connection.features.has_select_for_update_skip_locked:
        return set()
    return set(unknown.values_list("request_id", flat=True))


def _unwritten(pks: Collection[int]) -> Case | int:
    """Return how many attempts on each entry its row does not have."""
    counts = [
        When(pk=entry.pk, then=Value(entry.unwritten))
        for entry in held.entries.all()
        if entry.unwritten and entry.pk in pks
    ]
    return Case(*counts, default=Value(0)) if counts else 0


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
            pks = [entry.pk for entry in _unlocked(entries)[:_NOTED_AT_ONCE]]
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
    _update_locked(
        recent.pending().filter(is_repeated=True),
        outcome=DeliveryOutcome.DELIVERED,
        is_repeated=False,
    )
    lost = recent.filter(outcome=DeliveryOutcome.DELIVERED)
    before = lost.filter(attempted_at__lt=began_at)
    newest = before.aggregate(newest=Max("attempted_at"))["newest"] or began_at
    lived_to = max(newest, alive_at or newest)
    received = Q(attempted_at__gte=began_at) | Q(attempted_at__lt=lived_to - _IN_FLIGHT)
    # How long Redis lived on after this deployment last reached it is not known, and its agent may
    # have asked anew meanwhile: an answer that is not certain to be its own is not sent.
    uncertain = Q(attempted_at__lt=began_at - _SOON_BACK)
    agents = Q(request__origin=Origin.REDIS)
    # Nobody knows whether its agent still waits: it counts as unanswered.
    in_flight = lost.filter(~received & uncertain & agents)
    _update_locked(
        in_flight,
        receivers=0,
        answered_at=None,
        first_heard_at=None,
        outcome=DeliveryOutcome.UNHEARD,
    )
    lost = lost.exclude((received | uncertain) & agents)
    with transaction.atomic():
        lost = lost.filter(pk__in=_lock(lost))
        lost.filter(received, heard_at=None).update(heard_at=F("attempted_at"))
        return lost.update(outcome=DeliveryOutcome.PENDING, due_at=now, owner=None)


def entry_of(request_id: str) -> OutboxEntry | None:
    """Return the entry of the request's signal without the signal, or None if it has none."""
    return OutboxEntry.objects.filter(request__request_id=request_id).defer("signal").first()


def outcome_of(request_id: str) -> str:
    """Return the outcome of the request's signal so far, or '' if it has none."""
    entry = entry_of(request_id)
    return str(entry.reported_outcome) if entry else ""


def is_waiting_for_redis(request_id: str) -> bool:
    """Say whether the request's signal is pending because Redis has not been reached yet."""
    pending = OutboxEntry.objects.pending().filter(request__request_id=request_id)
    return pending.filter(Q(attempts=0) | ~Q(error="")).exists()


def current_signal(session_id: str) -> str | None:
    """Return what the session's signal key would hold if Redis could be asked."""
    newest = ApprovalRequest.objects.filter(session_id=session_id).newest_first().first()
    since = clocks.now() - timedelta(seconds=redis_keys.SIGNAL_TTL)
    entries = OutboxEntry.objects.filter(request=newest, created_at__gt=since)
    entry = entries.select_related("request", "record").first() if newest else None
    if entry is None or unvouched([entry]) or (is_guarded(entry) and not _was_published(entry)):
        return None
    return text_of(entry)


def is_guarded(entry: OutboxEntry) -> bool:
    """Say whether the signal is one that another agent of its session could act on: an approval of
    what an agent wrote to Redis (wire.md, 5.3)."""
    request = entry.request
    return request.status == Status.APPROVED and request.origin == Origin.REDIS


def _was_published(entry: OutboxEntry) -> bool:
    # The version before notes who received it, and not when it was published.
    return entry.published_at is not None or entry.receivers > 0


def _unlocked(entries: OutboxQuerySet) -> OutboxQuerySet:
    """Return those that no other process has locked, and lock them; SQLite has one writer."""
    if connection.features.has_select_for_update_skip_locked:
        return entries.select_for_update(skip_locked=True, of=("self",))
    return entries


def _update_locked(entries: OutboxQuerySet, **change: Any) -> int:
    """Update the entries, locked as `_lock` says; return how many. Each call is a transaction: two
    groups that one transaction locks after each other are in no order."""
    with transaction.atomic():
        return entries.filter(pk__in=_lock(entries)).update(**change)


def _lock(entries: OutboxQuerySet) -> list[int]:
    """Lock the entries in the order of their pks, as every process does; return the pks.

    A slow relay may still have entries that another has taken since. In different orders each
    would wait for the other.
    """
    locked = entries.order_by("pk").select_for_update(of=("self",))
    return list(locked.values_list("pk", flat=True))
