"""Reading a session's events back: for its streams page by page, for a resumed agent whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Func, IntegerField
from django.utils import timezone

from dwp_project.sse import frames
from streaming import events
from streaming.models import Event, Session

# What one page holds at most: a reader that is slow holds no more than this in memory. An
# event that is larger has a page of its own.
PAGE_EVENTS = 500
PAGE_BYTES = 512 * 1024

NO_LONGER_KEPT = "Earlier events are no longer kept. What is kept follows."


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """Frames after a cursor, the sequence of the last, whether `[DONE]` follows them, and
    whether more can be read at once."""

    frames: bytes
    sequence: int
    is_last: bool
    is_partial: bool = False


class _OctetLength(Func):
    """The length of a text in bytes, found without reading the text where that is possible."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "LENGTH(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **context)


def read(session_pk: int, after: int) -> ReplayPage:
    """Return the next frames after sequence `after`: at most 500, and about 512 KiB.

    Where retention has removed some of them, `stream_reset` comes first (wire.md, 4.4).
    """
    # The session first: events that commit after this are told by their own wake-up.
    session = Session.objects.only("session_id", "status", "last_sequence").get(pk=session_pk)
    last = session.last_sequence
    if last <= after:
        return ReplayPage(b"", after, is_last=not session.is_running)
    rows = Event.objects.filter(
        session_id=session_pk, sequence__gt=after, sequence__lte=last
    ).order_by("sequence")
    sizes = rows.annotate(size=_OctetLength("payload")).values_list("sequence", "size")
    until = _last_that_fits(sizes[:PAGE_EVENTS])
    found = list(rows.filter(sequence__lte=until).values_list("sequence", "name", "payload"))
    if until and (not found or found[-1][0] != until):
        return read(session_pk, after)  # retention was faster: what is kept begins later now
    first = found[0][0] if found else last + 1
    sent = [_frame(session_pk, *row) for row in found]
    if first > after + 1:
        # Only the oldest events ever go, so a gap can only be before the first.
        sent.insert(0, _reset_frame(session, first - 1))
    end = found[-1][0] if found else last
    return ReplayPage(
        frames=b"".join(sent),
        sequence=end,
        is_last=not session.is_running and end >= last,
        is_partial=end < last,
    )


def from_wakeup(message: bytes, session_pk: int, after: int) -> ReplayPage | None:
    """Return the frames that a wake-up carries if they are the very next after `after`.

    An empty page if all of them were sent already; None if there is a gap to read.
    """
    told = json.loads(message)
    last = told["after"] + len(told["events"])
    if last <= after:
        # Read already; but a reader that saw the last event before the end learns it here.
        return ReplayPage(b"", after, is_last=told["isEnd"] and last == after)
    if told["after"] != after:
        return None
    sent = b"".join(
        _frame(session_pk, after + number, name, text)
        for number, (name, text) in enumerate(told["events"], start=1)
    )
    return ReplayPage(sent, last, told["isEnd"])


def recorded_events(session_pk: int) -> list[Event]:
    """Return the session's events in order, all that are kept."""
    rows = Event.objects.filter(session_id=session_pk).order_by("sequence")
    return list(rows.only("sequence", "name", "payload"))


def _last_that_fits(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the sequence of the last event that still fits into a page; 0 without events."""
    cut = total = 0
    for sequence, size in sizes:
        total += size
        if cut and total > PAGE_BYTES:
            break
        cut = sequence
    return cut


def _reset_frame(session: Session, sequence: int) -> bytes:
    """Return the frame of `stream_reset`, which is not kept: each reader's gap is its own."""
    payload = events.payload(
        "stream_reset",
        {"reason": NO_LONGER_KEPT},
        session_id=session.session_id,
        timestamp=int(timezone.now().timestamp()),
    )
    return _frame(session.pk, sequence, "stream_reset", payload)


def _frame(session_pk: int, sequence: int, name: str, payload: str) -> bytes:
    return frames.event(events.event_id(session_pk, sequence), name, payload)
