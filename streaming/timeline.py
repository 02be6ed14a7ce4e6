"""A session's events in words, for operators to read: texts marked, secrets masked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from hitl.models import ApprovalRequest
from hitl.text import redact, sanitize
from streaming import events
from streaming.models import Event, Session

# Of a long session the newest are shown; one read returns so many.
MOST_EVENTS = 500
_PAGE_EVENTS = 100
_MOST_CHARACTERS = 2_000
# Said again, with its title, by the `timeline_step_update` beside it.
_HIDDEN = frozenset({"plan_step_update"})
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One event as the page adds it: a whole item, and for a piece of an answer its text alone."""

    sequence: int
    kind: str
    html: str
    piece: str = ""


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Events after a cursor, the sequence up to which they were read, and whether more follow
    at once, or never."""

    happened: list[TimelineItem]
    sequence: int
    is_partial: bool
    is_last: bool


def find(session_id: str, tenants: list[str]) -> Session | None:
    """Return the session if it is one of these tenants'."""
    return Session.objects.filter(session_id=session_id, tenant_id__in=tenants).first()


def is_elsewhere(session_id: str, tenants: list[str]) -> bool:
    """Say whether requests of these tenants name the session, of which nothing is streamed here."""
    asked = ApprovalRequest.objects.filter(session_id=session_id, tenant_id__in=tenants)
    return asked.exists()


def read(session_pk: int, after: int) -> TimelinePage:
    """Return what happened after sequence `after`."""
    session = Session.objects.only("status", "last_sequence").get(pk=session_pk)
    after = max(after, session.last_sequence - MOST_EVENTS)
    rows = Event.objects.filter(
        session_id=session_pk, sequence__gt=after, sequence__lte=session.last_sequence
    )
    found = list(rows.order_by("sequence")[:_PAGE_EVENTS])
    end = found[-1].sequence if len(found) == _PAGE_EVENTS else session.last_sequence
    return TimelinePage(
        happened=[_happened(event) for event in found if event.name not in _HIDDEN],
        sequence=max(after, end),
        is_partial=end < session.last_sequence,
        is_last=end >= session.last_sequence and not session.is_running,
    )


def _happened(event: Event) -> TimelineItem:
    if event.name in events.TYPES:
        fields = events.fields_of(event.name, event.payload)
    else:
        fields = json.loads(event.payload)
    # Masked before anything is put in words: no word can show what the masks hide.
    shown: Fields = redact.spelled_out(redact.masked(fields))
    if event.name == "content":
        piece = sanitize.marked(str(shown.get("content", "")), is_multiline=True)
        words = format_html('{} <span class="piece">{}</span>', _b(_("Answer:")), piece)
        return TimelineItem(event.sequence, "content", _item(event, words, ""), piece)
    tell = _WORDS.get(event.name)
    words = tell(shown) if tell else _b(event.name)
    raw = format_html(
        '<details class="fold"><summary>{}</summary>{}</details>',
        _("as sent"),
        sanitize.pretty(shown),
    )
    return TimelineItem(
        event.sequence, event.name, _item(event, words, raw, _look(event.name, shown))
    )


def _item(event: Event, words: SafeString, raw: SafeString | str, look: str = "") -> SafeString:
    return format_html(
        '<li data-kind="{}" class="{}"><time datetime="{}">{}</time><div>{}{}</div></li>',
        event.name,
        look,
        event.created_at.isoformat(),
        f"{event.created_at:%H:%M:%S}",
        words,
        raw,
    )


def _look(name: str, shown: Fields) -> str:
    if name in ("error", "failed") or shown.get("status") in ("failed", "cancelled"):
        return "is-bad"
    if name == "hitl":
        return "is-here"
    return "is-good" if name == "end" or shown.get("status") == "success" else ""


def _b(text: str) -> SafeString:
    return format_html("<b>{}</b>", sanitize.plain(text))


def _told(label: str, text: Any) -> SafeString:
    words = str(text or "")
    cut = words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]}…"
    return format_html("{} {}", _b(label), sanitize.marked(cut, is_multiline=True))


def _status(status: Any) -> str:
    names = {
        "pending": _("to do"),
        "in_progress": _("in progress"),
        "running": _("running"),
        "completed": _("done"),
        "success": _("done"),
        "failed": _("failed"),
        "skipped": _("skipped"),
        "cancelled": _("cancelled"),
    }
    return str(names.get(str(status), status))


def _thought(shown: Fields) -> SafeString:
    kinds = {
        "analysis": _("Analysis:"),
        "planning": _("Plan:"),
        "reasoning": _("Reasoning:"),
        "decision": _("Decision:"),
        "reflection": _("Reflection:"),
    }
    kind = str(shown.get("thoughtType"))
    return _told(kinds.get(kind, f"{kind}:"), shown.get("content"))


def _step(shown: Fields) -> SafeString:
    return _told(_("Step %(order)s:") % {"order": shown.get("order")}, shown.get("title"))


def _progress(shown: Fields) -> SafeString:
    return _told(f"{_status(shown.get('status'))}:", shown.get("title"))


def _tool(shown: Fields) -> SafeString:
    label = _("Tool %(name)s:") % {"name": shown.get("toolName")}
    return _told(label, shown.get("error") or _status(shown.get("status")))


def _ended(shown: Fields) -> SafeString:
    return _told(_("The end:"), shown.get("message"))


_WORDS: dict[str, Callable[[Fields], SafeString]] = {
    "start": lambda shown: _told(_("Begins:"), shown.get("message")),
    "thought": _thought,
    "plan_step": _step,
    "timeline_step_update": _progress,
    "tool_execution": _tool,
    "hitl": lambda shown: _told(_("Asks:"), shown.get("message") or shown.get("actionType")),
    "error": lambda shown: _told(_("Error:"), shown.get("message") or shown.get("error")),
    "failed": lambda shown: _told(_("Failed:"), shown.get("message") or shown.get("error")),
    "end": _ended,
}
