"""The outbox: signals are written with their decision, taken when they are due, and due again
until an agent has received them (docs/reference/wire.md, 5.2 and 5.3).

`hitl.delivery.publisher` sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, Subquery

from dwp_project import clocks, exchange, wakeup
from dwp_project.exchange import Statement
from dwp_project.jsontext import compact
from hitl.audit import decision_record, signing
from hitl.audit.hashing import FIRST_SIGNED_FORM
from hitl.audit.record_signatures import trust_of
from hitl.audit.signing import Trust
from hitl.delivery import keys as redis_keys
from hitl.delivery.leases import TERM, lease
from hitl.delivery.redis_clock import RedisReading, redis_clock
from hitl.delivery.wire import signal
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, OutboxQuerySet, RelayLease
from hitl.states import Origin, Status

# The wake-up topic that tells relays to look at the outbox.
TOPIC = "outbox"
# What such a wake-up carries if it says no more than that this process holds another entry.
HELD = b"held"
# How long the deciding process has to publish before a relay may. Chosen: one call of Redis fails
# within a second.
_FAST_PATH = timedelta(seconds=1)
# Whether a request's session has a newer one, by the request's key.
IS_OUTDATED = """EXISTS (
        SELECT 1 FROM hitl_approvalrequest request
          JOIN hitl_approvalrequest newer ON newer.session_id = request.session_id
         WHERE request.id = %s
           AND (newer.created_at > request.created_at
                OR newer.created_at = request.created_at AND newer.id > request.id))"""
# An owner without a lease would keep others from the entry for ever.
OWNER = "(SELECT id FROM hitl_relaylease WHERE id = %s)"
# Entries of which a look returns the keys: more than are taken at once, for others take some too.
LOOKED_AT = 500
# The error of an entry that is not sent, because no record that is trusted here has its decision.
NOT_VOUCHED_FOR = "the audit does not have this decision"
# The columns that a decision sets, also in an entry that was there before.
_COLUMNS = (
    *("record_id", "signal", "created_at", "due_at", "attempts", "receivers", "outcome"),
    *("attempted_at", "heard_at", "error"),
    *("published_at", "answered_at", "withheld_until", "is_repeated", "first_heard_at"),
)
_VALUES = ("request_id", *(name for name in _COLUMNS if name != "record_id"))
# The record is written in the same exchange, so its key is not known yet.
_KEY_OF_RECORD = "(SELECT id FROM hitl_auditrecord WHERE tenant_id = %s AND sequence = %s)"
# As SQL, because each decision does it. Nobody owns it before its first publication is recorded, so
# that others send it soon if this process dies or freezes meanwhile.
_INSERT = f"""
    INSERT INTO hitl_outboxentry ({", ".join(_VALUES)}, record_id)
    VALUES ({", ".join(["%s"] * len(_VALUES))}, {_KEY_OF_RECORD})
    ON CONFLICT (request_id) DO UPDATE
       SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}, owner = NULL
    RETURNING id, record_id, {IS_OUTDATED}"""  # noqa: S608 - names of this module alone
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


class OutboxLook(NamedTuple):
    """The keys of entries that may be taken, the first due first, and when those are due that this
    process owns."""

    free: list[int]
    own: dict[int, datetime]


def enqueue(
    request: ApprovalRequest, record: AuditRecord, now: datetime, *before: Statement
) -> NewEntry:
    """Write the entry of a decided request and of the decision's record, which the statements
    `before` write, and end their transaction.

    An entry that somebody wrote before the decision was made is replaced. The same statement says
    whether the session has a newer request, so that nothing has to be asked before the signal is
    sent.
    """
    entry = OutboxEntry(
        request=request,
        signal=compact(signal(request)),
        created_at=now,
        due_at=now + _FAST_PATH,
    )
    asked_at = redis_clock.known()
    values = [exchange.adapted(getattr(entry, name)) for name in _VALUES]
    of_record = (record.tenant_id, record.sequence)
    insertion = Statement(_INSERT, [*values, *of_record, request.pk])
    *_, [(entry.pk, record.pk, is_outdated)] = exchange.send(
        *before, insertion, ends_transaction=True
    )
    entry.record = record
    entry._state.adding = record._state.adding = False
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
    moment = exchange.adapted(now)
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [moment, limit, moment, moment, limit, owner_value(), moment])
        rows = cursor.fetchall()
    free = sorted((as_moment(due_at), pk) for pk, due_at, is_own in rows if not is_own)
    own = {pk: as_moment(due_at) for pk, due_at, is_own in rows if is_own}
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
        taken = list(unlocked_of(due)[:limit])
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
        update_locked(
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


def unlocked_of(entries: OutboxQuerySet) -> OutboxQuerySet:
    """Return those that no other process has locked, and lock them; SQLite has one writer."""
    if connection.features.has_select_for_update_skip_locked:
        return entries.select_for_update(skip_locked=True, of=("self",))
    return entries


def update_locked(entries: OutboxQuerySet, **change: Any) -> int:
    """Update the entries, locked as `lock` says; return how many. Each call is a transaction: two
    groups that one transaction locks after each other are in no order."""
    with transaction.atomic():
        return entries.filter(pk__in=lock(entries)).update(**change)


def lock(entries: OutboxQuerySet) -> list[int]:
    """Lock the entries in the order of their pks, as every process does; return the pks.

    A slow relay may still have entries that another has taken since. In different orders each
    would wait for the other.
    """
    locked = entries.order_by("pk").select_for_update(of=("self",))
    return list(locked.values_list("pk", flat=True))


def as_moment(value: datetime | str) -> datetime:
    """Return a time as the database's driver returns it; SQLite has texts."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
