"""A session's events as sentences for operators: suspicious characters marked, secrets masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dwp_project.jsontext import loads
from hitl.models import ApprovalRequest
from hitl.text import json_html, redact, sanitize
from streaming import events
from streaming.models import Event, Session

# Only the newest events of a long session are displayed. Chosen: more than anybody reads, and
# little enough for a browser.
MAX_EVENTS = 500
# How many events one read returns. Chosen: the first ones are displayed while the rest is rendered.
_PAGE_EVENTS = 100
# How much of one text is displayed. Chosen: about a screen; the whole is below it, as sent.
_MAX_CHARACTERS = 2_000
# The `timeline_step_update` beside it says the same, with the title.
_HIDDEN = frozenset({"plan_step_update"})
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One event as HTML for the page; `piece` is the text alone if it is a piece of the answer."""

    sequence: int
    kind: str
    html: str
    piece: str = ""


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Events after a cursor, the sequence up to which they were read, whether more can be read at
    once, and whether no more will follow."""

    items: list[TimelineItem]
    sequence: int
    is_partial: bool
    is_last: bool


def find(session_id: str, tenants: list[str]) -> Session | None:
    """Return the session if it belongs to one of these tenants."""
    return Session.objects.filter(session_id=session_id, tenant_id__in=tenants).first()


def is_elsewhere(session_id: str, tenants: list[str]) -> bool:
    """Say whether requests of these tenants name the session, which runs in a system of its own."""
    requests = ApprovalRequest.objects.filter(session_id=session_id, tenant_id__in=tenants)
    return requests.exists()


def read(session_pk: int, after: int) -> TimelinePage:
    """Return the page of events after sequence `after`."""
    session = Session.objects.only("status", "last_sequence").get(pk=session_pk)
    after = max(after, session.last_sequence - MAX_EVENTS)
    rows = Event.objects.filter(
        session_id=session_pk, sequence__gt=after, sequence__lte=session.last_sequence
    )
    page = list(rows.order_by("sequence")[:_PAGE_EVENTS])
    end = page[-1].sequence if len(page) == _PAGE_EVENTS else session.last_sequence
    return TimelinePage(
        items=[_timeline_item(event) for event in page if event.name not in _HIDDEN],
        sequence=max(after, end),
        is_partial=end < session.last_sequence,
        is_last=end >= session.last_sequence and not session.is_running,
    )


def _timeline_item(event: Event) -> TimelineItem:
    if event.name in events.TYPES:
        fields = events.fields_of(event.name, event.payload)
    else:
        fields = loads(event.payload)
    # Masked before any sentence is made, so that no sentence can contain a secret.
    hidden = redact.masked(fields)
    masked: Fields = redact.spelled_out(hidden)
    if event.name == "content":
        piece = sanitize.marked(str(masked.get("content", "")), is_multiline=True)
        words = format_html('{} <span class="piece">{}</span>', _b(_("Answer:")), piece)
        return TimelineItem(event.sequence, "content", _list_item(event, words, ""), piece)
    describe = _SENTENCES.get(event.name)
    words = describe(masked) if describe else _b(event.name)
    raw = format_html(
        '<details class="fold"><summary>{}</summary>{}</details>',
        _("as sent"),
        json_html.pretty(hidden),
    )
    return TimelineItem(
        event.sequence, event.name, _list_item(event, words, raw, _css_class(event.name, masked))
    )


def _list_item(
    event: Event, words: SafeString, raw: SafeString | str, css_class: str = ""
) -> SafeString:
    return format_html(
        '<li data-kind="{}" class="{}"><time datetime="{}">{}</time><div>{}{}</div></li>',
        event.name,
        css_class,
        event.created_at.isoformat(),
        f"{event.created_at:%H:%M:%S}",
        words,
        raw,
    )


def _css_class(name: str, masked: Fields) -> str:
    if name in ("error", "failed") or masked.get("status") in ("failed", "cancelled"):
        return "is-bad"
    if name == "hitl":
        return "is-here"
    return "is-good" if name == "end" or masked.get("status") == "success" else ""


def _b(text: str) -> SafeString:
    return format_html("<b>{}</b>", sanitize.plain(text))


def _labelled(label: str, value: Any) -> SafeString:
    text = str(value or "")
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[:_MAX_CHARACTERS]}…"
    return format_html("{} {}", _b(label), sanitize.marked(text, is_multiline=True))


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


def _thought(masked: Fields) -> SafeString:
    kinds = {
        "analysis": _("Analysis:"),
        "planning": _("Plan:"),
        "reasoning": _("Reasoning:"),
        "decision": _("Decision:"),
        "reflection": _("Reflection:"),
    }
    kind = str(masked.get("thoughtType"))
    return _labelled(kinds.get(kind, f"{kind}:"), masked.get("content"))


def _step(masked: Fields) -> SafeString:
    return _labelled(_("Step %(order)s:") % {"order": masked.get("order")}, masked.get("title"))


def _step_update(masked: Fields) -> SafeString:
    return _labelled(f"{_status(masked.get('status'))}:", masked.get("title"))


def _tool(masked: Fields) -> SafeString:
    label = _("Tool %(name)s:") % {"name": masked.get("toolName")}
    return _labelled(label, masked.get("error") or _status(masked.get("status")))


def _ended(masked: Fields) -> SafeString:
    return _labelled(_("The end:"), masked.get("message"))


_SENTENCES: dict[str, Callable[[Fields], SafeString]] = {
    "start": lambda masked: _labelled(_("Begins:"), masked.get("message")),
    "thought": _thought,
    "plan_step": _step,
    "timeline_step_update": _step_update,
    "tool_execution": _tool,
    "hitl": lambda masked: _labelled(_("Asks:"), masked.get("message") or masked.get("actionType")),
    "error": lambda masked: _labelled(_("Error:"), masked.get("message") or masked.get("error")),
    "failed": lambda masked: _labelled(_("Failed:"), masked.get("message") or masked.get("error")),
    "end": _ended,
}
