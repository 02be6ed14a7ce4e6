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
MAX_EVENTS = 500
_PAGE_EVENTS = 100
_MAX_CHARACTERS = 2_000
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

    items: list[TimelineItem]
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
    """Return the page of events after sequence `after`."""
    session = Session.objects.only("status", "last_sequence").get(pk=session_pk)
    after = max(after, session.last_sequence - MAX_EVENTS)
    rows = Event.objects.filter(
        session_id=session_pk, sequence__gt=after, sequence__lte=session.last_sequence
    )
    found = list(rows.order_by("sequence")[:_PAGE_EVENTS])
    end = found[-1].sequence if len(found) == _PAGE_EVENTS else session.last_sequence
    return TimelinePage(
        items=[_timeline_item(event) for event in found if event.name not in _HIDDEN],
        sequence=max(after, end),
        is_partial=end < session.last_sequence,
        is_last=end >= session.last_sequence and not session.is_running,
    )


def _timeline_item(event: Event) -> TimelineItem:
    if event.name in events.TYPES:
        fields = events.fields_of(event.name, event.payload)
    else:
        fields = json.loads(event.payload)
    # Masked before anything is put in words: no word can show what the masks hide.
    shown: Fields = redact.spelled_out(redact.masked(fields))
    if event.name == "content":
        piece = sanitize.marked(str(shown.get("content", "")), is_multiline=True)
        words = format_html('{} <span class="piece">{}</span>', _b(_("Answer:")), piece)
        return TimelineItem(event.sequence, "content", _list_item(event, words, ""), piece)
    tell = _SENTENCES.get(event.name)
    words = tell(shown) if tell else _b(event.name)
    raw = format_html(
        '<details class="fold"><summary>{}</summary>{}</details>',
        _("as sent"),
        sanitize.pretty(shown),
    )
    return TimelineItem(
        event.sequence, event.name, _list_item(event, words, raw, _css_class(event.name, shown))
    )


def _list_item(
    event: Event, words: SafeString, raw: SafeString | str, look: str = ""
) -> SafeString:
    return format_html(
        '<li data-kind="{}" class="{}"><time datetime="{}">{}</time><div>{}{}</div></li>',
        event.name,
        look,
        event.created_at.isoformat(),
        f"{event.created_at:%H:%M:%S}",
        words,
        raw,
    )


def _css_class(name: str, shown: Fields) -> str:
    if name in ("error", "failed") or shown.get("status") in ("failed", "cancelled"):
        return "is-bad"
    if name == "hitl":
        return "is-here"
    return "is-good" if name == "end" or shown.get("status") == "success" else ""


def _b(text: str) -> SafeString:
    return format_html("<b>{}</b>", sanitize.plain(text))


def _labelled(label: str, text: Any) -> SafeString:
    words = str(text or "")
    cut = words if len(words) <= _MAX_CHARACTERS else f"{words[:_MAX_CHARACTERS]}…"
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
    return _labelled(kinds.get(kind, f"{kind}:"), shown.get("content"))


def _step(shown: Fields) -> SafeString:
    return _labelled(_("Step %(order)s:") % {"order": shown.get("order")}, shown.get("title"))


def _step_update(shown: Fields) -> SafeString:
    return _labelled(f"{_status(shown.get('status'))}:", shown.get("title"))


def _tool(shown: Fields) -> SafeString:
    label = _("Tool %(name)s:") % {"name": shown.get("toolName")}
    return _labelled(label, shown.get("error") or _status(shown.get("status")))


def _ended(shown: Fields) -> SafeString:
    return _labelled(_("The end:"), shown.get("message"))


_SENTENCES: dict[str, Callable[[Fields], SafeString]] = {
    "start": lambda shown: _labelled(_("Begins:"), shown.get("message")),
    "thought": _thought,
    "plan_step": _step,
    "timeline_step_update": _step_update,
    "tool_execution": _tool,
    "hitl": lambda shown: _labelled(_("Asks:"), shown.get("message") or shown.get("actionType")),
    "error": lambda shown: _labelled(_("Error:"), shown.get("message") or shown.get("error")),
    "failed": lambda shown: _labelled(_("Failed:"), shown.get("message") or shown.get("error")),
    "end": _ended,
}
