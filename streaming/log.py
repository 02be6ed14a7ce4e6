"""The only writer of events: appends under the session's lock, then wakes the streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from dwp_project import clocks, exchange, wakeup
from dwp_project.exchange import Statement
from dwp_project.jsontext import compact
from hitl.delivery import after_commit
from streaming import events
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session, SessionStatus


class SessionEnded(Exception):
    """The session has its last event already, or another run has written to it."""


class LeaseLost(SessionEnded):
    """Another process runs the session, under a later lease."""


class SessionCancelled(Exception):
    """Somebody has cancelled the session; only its final events may follow."""


class SessionFull(Exception):
    """The session has used up its event ids."""


# A wake-up contains the events themselves up to this size; larger ones are read from the database.
# Chosen: most events fit, and a reader's queue (`wakeup.subscription`) takes many of them.
_MAX_WAKEUP_BYTES = 16 * 1024
# How many ids are reserved for the final events of a session that has used up its ids: more than
# any end in `final_events` needs.
_RESERVED_SEQUENCES = 10


def wake_topic(session_pk: int) -> str:
    """Return the wake-up topic of a session's events."""
    return f"events:{session_pk}"


# The sessions that have a later event than a reader knows, or have ended.
AWAITED = wakeup.AwaitedTable(
    Session._meta.db_table,
    "stored.last_sequence > awaited.known OR stored.status <> 'running'",
)

# As SQL, because each event does it, and to build it takes longer than to answer it.
_SESSION = f"SELECT {exchange.columns(Session)} FROM streaming_session WHERE id = %s"  # noqa: S608
_ADVANCE = """
    UPDATE streaming_session SET last_sequence = %s, status = %s, ended_at = %s WHERE id = %s"""


def append(
    session_pk: int,
    new: Sequence[AgentEvent],
    *,
    after: int,
    lease: int,
    ending: SessionStatus | None = None,
    now: datetime | None = None,
) -> int:
    """Append events after sequence `after` under lease number `lease`; return the last sequence.

    With `ending` the session ends in that status. The call may be repeated when it is not known
    whether it was committed: events that are stored already are not appended again.
    Raises `LeaseLost` if another process has taken over, `SessionEnded` if the session has ended,
    `ValueError` for an event that is not in the table of wire.md 4.4, and without `ending` also
    `SessionCancelled` and `SessionFull`.
    """
    now = now or clocks.now()
    with transaction.atomic():
        session = _locked(session_pk)
        if session.lease_number != lease:
            # Checked first: a run that learns that its events are stored goes on to act, which it
            # may not do without the lease.
            raise LeaseLost(session.session_id)
        if _is_already_appended(session, new, after=after, ending=ending):
            return session.last_sequence
        if not session.is_running or session.last_sequence != after:
            raise SessionEnded(session.session_id)
        if ending is None and session.cancel_requested_at is not None:
            raise SessionCancelled(session.session_id)
        if (
            ending is None
            and session.last_sequence + len(new) > events.MAX_SEQUENCE - _RESERVED_SEQUENCES
        ):
            raise SessionFull(session.session_id)
        rows = [
            Event(
                session=session,
                sequence=session.last_sequence + number,
                name=event.type,
                payload=events.payload(
                    event.type,
                    event.fields,
                    session_id=session.session_id,
                    timestamp=int(now.timestamp()),
                ),
                created_at=now,
            )
            for number, event in enumerate(new, start=1)
        ]
        session.last_sequence += len(rows)
        if ending is not None:
            session.status, session.ended_at = ending, now
        advance = (session.last_sequence, session.status, exchange.adapted(session.ended_at))
        exchange.send(
            *map(exchange.insert, rows),
            Statement(_ADVANCE, [*advance, session_pk]),
            ends_transaction=True,
        )
        after_commit.run(lambda: _wake_streams(session_pk, rows, is_end=ending is not None))
    return session.last_sequence


def _locked(session_pk: int) -> Session:
    """Return the session, locked until the transaction ends."""
    # SQLite's transactions have the lock when they begin.
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    [sessions] = exchange.read((Session, Statement(_SESSION + lock, [session_pk])))
    for session in sessions:
        return session
    raise Session.DoesNotExist


def _is_already_appended(
    session: Session, new: Sequence[AgentEvent], *, after: int, ending: SessionStatus | None
) -> bool:
    """Say whether exactly these events are stored, by a call whose result was lost."""
    if session.last_sequence != after + len(new) or session.is_running != (ending is None):
        return False
    rows = session.events.filter(sequence__gt=after).order_by("sequence")
    return all(
        row.name == event.type and events.is_payload_of(row.payload, event.type, event.fields)
        for row, event in zip(rows, new, strict=True)
    )


def _wake_streams(session_pk: int, rows: list[Event], *, is_end: bool) -> None:
    """Publish the new events, or only the wake-up if they are too large (`replay.from_wakeup`)."""
    content = {
        "after": rows[0].sequence - 1,
        "events": [[row.name, row.payload] for row in rows],
        "isEnd": is_end,
    }
    message = compact(content).encode()
    wakeup.publish(wake_topic(session_pk), message if len(message) <= _MAX_WAKEUP_BYTES else b"")
