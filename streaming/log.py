"""The only writer of events: append under the session's lock, then wake the streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from dwp_project import wakeup
from dwp_project.jsontext import compact
from streaming import events
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session, SessionStatus


class SessionEnded(Exception):
    """The session has sent its last event already, or somebody else has written to it."""


class LeaseLost(SessionEnded):
    """The session goes on in another process, under a later lease."""


class SessionCancelled(Exception):
    """Somebody asked for the session's end; only its closing events may follow."""


class SessionFull(Exception):
    """The session has used up its event ids."""


# A wake-up carries the event itself up to this size; a larger one is read from the database.
_MAX_WAKEUP_BYTES = 16 * 1024
# What is kept free for the closing events of a session that has used up its ids.
_RESERVED_SEQUENCES = 10


def wake_topic(session_pk: int) -> str:
    """Return the wake-up topic on which a session's events are told."""
    return f"events:{session_pk}"


def append(
    session_pk: int,
    new: Sequence[AgentEvent],
    *,
    after: int,
    lease: int,
    ending: SessionStatus | None = None,
    now: datetime | None = None,
) -> int:
    """Append events behind sequence `after` under the lease number `lease`, and with `ending`
    close the session; return the new last sequence.

    May be repeated when it is not known whether it was committed: events that are there
    already are not appended again. Raises `LeaseLost` when another has taken the session
    over, `SessionEnded` when it has ended; `SessionCancelled` or `SessionFull` unless `ending`;
    `ValueError` for an event that is not in the table of wire.md 4.4.
    """
    now = now or timezone.now()
    with transaction.atomic():
        session = Session.objects.select_for_update().get(pk=session_pk)
        if session.lease_number != lease:
            # Before all else: who has lost the lease must not even learn that it had written.
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
        Event.objects.bulk_create(rows)
        session.last_sequence += len(rows)
        if ending is not None:
            session.status, session.ended_at = ending, now
        session.save(update_fields=["last_sequence", "status", "ended_at"])
        transaction.on_commit(lambda: _wake_streams(session_pk, rows, is_end=ending is not None))
    return session.last_sequence


def _is_already_appended(
    session: Session, new: Sequence[AgentEvent], *, after: int, ending: SessionStatus | None
) -> bool:
    """Say whether exactly these events were appended by a call whose answer was lost."""
    if session.last_sequence != after + len(new) or session.is_running != (ending is None):
        return False
    rows = session.events.filter(sequence__gt=after).order_by("sequence")
    return all(
        row.name == event.type and events.is_payload_of(row.payload, event.type, event.fields)
        for row, event in zip(rows, new, strict=True)
    )


def _wake_streams(session_pk: int, rows: list[Event], *, is_end: bool) -> None:
    told = {
        "after": rows[0].sequence - 1,
        "events": [[row.name, row.payload] for row in rows],
        "isEnd": is_end,
    }
    message = compact(told).encode()
    wakeup.publish(wake_topic(session_pk), message if len(message) <= _MAX_WAKEUP_BYTES else b"")
