"""Repeats the signals that nobody has received, by one statement and one round trip for all that
are due: what is repeated is not written (ADR 0042).

A signal was derived and compared with the audit once; it is sent again as long as the rows that it
was derived from are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from dwp_project import exchange
from hitl import metrics
from hitl.delivery import commands, held, outbox, publisher, redis_state
from hitl.delivery import keys as redis_keys
from hitl.delivery.held import HeldEntry
from hitl.delivery.leases import TERM, lease
from hitl.delivery.redis_clock import redis_clock
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import DeliveryOutcome

# Entries that one statement reads. Chosen.
_AT_ONCE = 500
# For how long a signal may be sent.
_LIFE = timedelta(seconds=redis_keys.SIGNAL_TTL)
# What `_needs_more` asks.
_ASKED = (
    *("entry.created_at", outbox.IS_OUTDATED % "entry.request_id"),
    *("entry.receivers", "entry.attempts", "entry.error"),
)
# The fields of a request that a signal is derived from and compared with.
_DERIVED = [
    field
    for field in ApprovalRequest._meta.concrete_fields
    if field.name not in outbox.UNNEEDED_UNTIL_SENT
]
_RENEWAL = (
    "INSERT INTO hitl_relaylease (id, ends_at) VALUES (%s, %s)"
    " ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at"
)


def run(now: datetime) -> list[int]:
    """Send again what is due and unchanged, and renew the lease; return the entries that need more
    than that. Raises `redis.RedisError` if Redis cannot be reached."""
    is_holding = len(held.entries) > 0
    due = held.entries.take_due(now)
    quiet = [entry for entry in due if entry.is_quiet]
    rest = [entry.pk for entry in due if not entry.is_quiet]
    try:
        if is_holding and not quiet and lease.is_to_be_renewed():
            _renew_and_read([], now)
        for start in range(0, len(quiet), _AT_ONCE):
            rest += _send_again(quiet[start : start + _AT_ONCE], now)
    except BaseException:
        # Those that were kept or written since are left as they are by `own`.
        for entry in due:
            held.entries.keep(entry)
        raise
    more = {*rest}
    for entry in due:
        if entry.pk in more:
            held.entries.keep(entry)
    return sorted(more)


def _send_again(entries: Sequence[HeldEntry], now: datetime) -> list[int]:
    """Send these again; return those that need more."""
    if redis_clock.known() is None:
        redis_state.current_run()
    asked_at = redis_clock.known() or redis_state.look().asked_at
    rows = _renew_and_read([entry.pk for entry in entries], now)
    mine = [entry for entry in entries if entry.pk in rows]  # the others are settled, or another's
    rest = [entry.pk for entry in mine if _needs_more(rows[entry.pk], now)]
    sent = [entry for entry in mine if not _needs_more(rows[entry.pk], now)]
    unchecked = [entry for entry in sent if entry.row != rows[entry.pk]]
    if unchecked:
        loaded = {entry.pk: _loaded(entry.pk, rows[entry.pk]) for entry in unchecked}
        unvouched = outbox.unvouched(list(loaded.values()))
        for entry in unchecked:
            if entry.pk not in unvouched:
                entry.row = rows[entry.pk]
                entry.signal = outbox.text_of(loaded[entry.pk])
        rest += [entry.pk for entry in sent if entry.row != rows[entry.pk]]
        sent = [entry for entry in sent if entry.row == rows[entry.pk]]
    if not sent:
        return rest
    publications = commands.repeat_all(
        [(entry.session_id, entry.request_id, entry.signal) for entry in sent], asked_at=asked_at
    )
    received = []
    for entry, publication in zip(sent, publications, strict=True):
        match publication:
            case commands.Published(receivers=0):
                entry.put_off(now)
                held.entries.keep(entry)
            case commands.Published(receivers):
                held.entries.keep(entry)
                received.append((entry.pk, receivers))
            case _:
                rest.append(entry.pk)
    metrics.signals.labels(str(DeliveryOutcome.PENDING)).inc(len(sent) - len(received))
    if received:
        publisher.record_received(dict(received))
    return rest


def _loaded(pk: int, row: tuple[Any, ...]) -> OutboxEntry:
    """Return the entry with its request and record, as they stand in a row of `_statement`."""
    of_request, of_record = row[len(_ASKED) :][: len(_DERIVED)], row[len(_ASKED) + len(_DERIVED) :]
    return OutboxEntry(
        pk=pk,
        request=exchange.one(ApprovalRequest, of_request, _DERIVED),
        # The version before writes no reference.
        record=None if of_record[0] is None else exchange.one(AuditRecord, of_record),
    )


def _needs_more(row: tuple[Any, ...], now: datetime) -> bool:
    """Say whether the entry's time is over, its session has a newer request, or its row says that
    it was published to somebody or not at all."""
    created_at, is_outdated, receivers, attempts, error = row[:5]
    is_over = now - outbox.as_moment(created_at) >= _LIFE
    return is_over or bool(is_outdated or receivers or not attempts or error)


def _renew_and_read(pks: Sequence[int], now: datetime) -> dict[int, tuple[Any, ...]]:
    """Renew the lease, and return what stands about those of these entries that are pending and
    this process's, by key; one statement."""
    renewal = [outbox.owner_value(), exchange.adapted(now + TERM)]
    lease.note_renewed()
    with connection.cursor() as cursor:
        if not pks:
            cursor.execute(_RENEWAL, renewal)
            return {}
        statement = _statement(len(pks))
        if connection.vendor == "postgresql":
            statement = f"WITH renewed AS ({_RENEWAL}) {statement}"
        else:
            cursor.execute(_RENEWAL, renewal)
            renewal = []
        cursor.execute(statement, [*renewal, outbox.owner_value(), *pks])
        return {row[0]: tuple(row[1:]) for row in cursor.fetchall()}


def _statement(count: int) -> str:
    """Return what reads so many entries: what `_needs_more` asks, then everything of the rows that
    a signal is derived from and compared with."""
    columns = [
        *(f"request.{field.column}" for field in _DERIVED),
        exchange.columns(AuditRecord, "record"),
    ]
    return f"""
        SELECT entry.id, {", ".join([*_ASKED, *columns])}
          FROM hitl_outboxentry entry
          JOIN hitl_approvalrequest request ON request.id = entry.request_id
          LEFT JOIN hitl_auditrecord record ON record.id = entry.record_id
         WHERE entry.outcome = 'pending' AND entry.owner = %s
           AND entry.id IN ({", ".join(["%s"] * count)})"""  # noqa: S608 - columns of our tables
