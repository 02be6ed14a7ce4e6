"""Reads a session's events: page by page for streams, all at once for a resumed agent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Func, IntegerField

from dwp_project import clocks
from dwp_project.sse import frames
from streaming import events
from streaming.models import Event, Session

# The most that one page contains, so that a slow reader has no more than this in memory; a larger
# event is a page of its own. Chosen: a long session takes few reads, and a hundred slow readers
# take some 50 MB.
PAGE_EVENTS = 500
PAGE_BYTES = 512 * 1024

NO_LONGER_KEPT = "Earlier events are no longer kept. What is kept follows."


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """Frames after a cursor, the sequence of the last, whether `[DONE]` follows, and whether more
    can be read at once."""

    frames: bytes
    sequence: int
    is_last: bool
    is_partial: bool = False


class _OctetLength(Func):
    """The length of a text in bytes, computed without reading the text where the database can."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "LENGTH(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **context)


def read(session_pk: int, after: int) -> ReplayPage:
    """Return the page of frames after sequence `after`.

    If retention has removed some of these events, `stream_reset` comes first (wire.md, 4.4).
    """
    # The session before its events: what commits after this line causes a wake-up of its own.
    session = Session.objects.only("session_id", "status", "last_sequence", "key").get(
        pk=session_pk
    )
    last = session.last_sequence
    if last <= after:
        return ReplayPage(b"", after, is_last=not session.is_running)
    rows = Event.objects.filter(
        session_id=session_pk, sequence__gt=after, sequence__lte=last
    ).order_by("sequence")
    sizes = rows.annotate(size=_OctetLength("payload")).values_list("sequence", "size")
    until = _last_that_fits(sizes[:PAGE_EVENTS])
    page = list(rows.filter(sequence__lte=until).values_list("sequence", "name", "payload"))
    if until and (not page or page[-1][0] != until):
        return read(session_pk, after)  # retention has removed events between the two queries
    first = page[0][0] if page else last + 1
    page_frames = [_frame(session.event_key, *row) for row in page]
    if first > after + 1:
        # Retention removes only the oldest events, so a gap can only be before the first.
        page_frames.insert(0, _reset_frame(session, first - 1))
    end = page[-1][0] if page else last
    return ReplayPage(
        frames=b"".join(page_frames),
        sequence=end,
        is_last=not session.is_running and end >= last,
        is_partial=end < last,
    )


def from_wakeup(message: bytes, session_key: int, after: int) -> ReplayPage | None:
    """Return the page of the events in a wake-up `message` if they come directly after `after`.

    An empty page if all of them were sent already; None if the database must be read.
    """
    content = json.loads(message)
    last = content["after"] + len(content["events"])
    if last <= after:
        # Sent already. But the reader may not know yet that its last event was the final one.
        return ReplayPage(b"", after, is_last=content["isEnd"] and last == after)
    if content["after"] != after:
        return None
    page_frames = b"".join(
        _frame(session_key, after + number, name, text)
        for number, (name, text) in enumerate(content["events"], start=1)
    )
    return ReplayPage(page_frames, last, content["isEnd"])


def recorded_events(session_pk: int) -> list[Event]:
    """Return the session's events in order, except those that retention has removed."""
    rows = Event.objects.filter(session_id=session_pk).order_by("sequence")
    return list(rows.only("sequence", "name", "payload"))


def _last_that_fits(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the sequence of the last event that fits into a page; 0 without events."""
    last = total = 0
    for sequence, size in sizes:
        total += size
        if last and total > PAGE_BYTES:
            break
        last = sequence
    return last


def _reset_frame(session: Session, sequence: int) -> bytes:
    """Return the frame of `stream_reset`, which is not stored: every reader misses other events."""
    payload = events.payload(
        "stream_reset",
        {"reason": NO_LONGER_KEPT},
        session_id=session.session_id,
        timestamp=int(clocks.now().timestamp()),
    )
    return _frame(session.event_key, sequence, "stream_reset", payload)


def _frame(session_key: int, sequence: int, name: str, payload: str) -> bytes:
    return frames.event(events.event_id(session_key, sequence), name, payload)
