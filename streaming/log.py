"""The only writer of events: append under the session's lock, then wake the streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from dwp_project import wakeup
from dwp_project.jsontext import compact
from dwp_project.sse import frames
from streaming import events
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session, SessionStatus


class SessionEnded(Exception):
    """The session has sent its last event already, or goes on in another process."""


class SessionCancelled(Exception):
    """Somebody asked for the session's end; only its closing events may follow."""


class SessionFull(Exception):
    """The session has used up its event ids."""


@dataclass(frozen=True, slots=True)
class Page:
    """Frames after a cursor, the sequence of the last, whether `[DONE]` follows them, and
    whether more can be read at once."""

    frames: bytes
    sequence: int
    is_last: bool
    is_partial: bool = False


# A wake-up carries the event itself up to this size; a larger one is read from the database.
_MAX_CARRIED = 16 * 1024
_PAGE = 500
# What is kept free for the closing events of a session that has used up its ids.
_RESERVED = 10


def wake_topic(session_pk: int) -> str:
    """Return the wake-up topic on which a session's events are told."""
    return f"events:{session_pk}"


def append(
    session_pk: int,
    new: Sequence[AgentEvent],
    *,
    after: int,
    ending: SessionStatus | None = None,
    now: datetime | None = None,
) -> int:
    """Append events behind sequence `after`, and with `ending` close the session; return the
    new last sequence.

    May be repeated when it is not known whether it was committed: events that are there
    already are not appended again. Raises `SessionEnded` when the session has ended or
    somebody else has written to it; `SessionCancelled` or `SessionFull` unless `ending`;
    `ValueError` for an event that is not in the table of wire.md 4.4.
    """
    now = now or timezone.now()
    with transaction.atomic():
        session = Session.objects.select_for_update().get(pk=session_pk)
        if _is_there_already(session, new, after=after, ending=ending):
            return session.last_sequence
        if not session.is_running or session.last_sequence != after:
            raise SessionEnded(session.session_id)
        if ending is None and session.cancel_requested_at is not None:
            raise SessionCancelled(session.session_id)
        if ending is None and session.last_sequence + len(new) > events.MAX_SEQUENCE - _RESERVED:
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
        transaction.on_commit(lambda: _tell(session_pk, rows, is_end=ending is not None))
    return session.last_sequence


def _is_there_already(
    session: Session, new: Sequence[AgentEvent], *, after: int, ending: SessionStatus | None
) -> bool:
    """Say whether exactly these events were appended by a call whose answer was lost."""
    if session.last_sequence != after + len(new) or session.is_running != (ending is None):
        return False
    rows = session.events.filter(sequence__gt=after).order_by("sequence")
    return all(
        row.name == event.type and events.says(row.payload, event.type, event.fields)
        for row, event in zip(rows, new, strict=True)
    )


def read(session_pk: int, after: int) -> Page:
    """Return the next frames after sequence `after`, at most 500 of them."""
    # The session first: events that commit after this are told by their own wake-up.
    session = Session.objects.only("status", "last_sequence").get(pk=session_pk)
    rows = Event.objects.filter(session_id=session_pk, sequence__gt=after).order_by("sequence")
    found = list(rows[:_PAGE])
    last = found[-1].sequence if found else after
    return Page(
        frames=b"".join(_frame(session_pk, row.sequence, row.name, row.payload) for row in found),
        sequence=last,
        is_last=not session.is_running and last >= session.last_sequence,
        is_partial=len(found) == _PAGE,
    )


def carried(message: bytes, session_pk: int, after: int) -> Page | None:
    """Return the frames that a wake-up carries if they are the very next after `after`.

    An empty page if all of them were sent already; None if there is a gap to read.
    """
    told = json.loads(message)
    last = told["after"] + len(told["events"])
    if last <= after:
        # Read already; but a reader that saw the last event before the end learns it here.
        return Page(b"", after, is_last=told["isEnd"] and last == after)
    if told["after"] != after:
        return None
    sent = b"".join(
        _frame(session_pk, after + number, name, text)
        for number, (name, text) in enumerate(told["events"], start=1)
    )
    return Page(sent, last, told["isEnd"])


def _frame(session_pk: int, sequence: int, name: str, payload: str) -> bytes:
    return frames.event(events.event_id(session_pk, sequence), name, payload)


def _tell(session_pk: int, rows: list[Event], *, is_end: bool) -> None:
    told = {
        "after": rows[0].sequence - 1,
        "events": [[row.name, row.payload] for row in rows],
        "isEnd": is_end,
    }
    message = compact(told).encode()
    wakeup.publish(wake_topic(session_pk), message if len(message) <= _MAX_CARRIED else b"")
