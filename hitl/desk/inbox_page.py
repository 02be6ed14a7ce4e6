"""The inbox's page: its filter as a form, its views, and one page of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl.approvals import permissions
from hitl.desk import inbox as inboxes
from hitl.desk import inbox_views, rows, script_texts
from hitl.desk.filters import Filter, Sort
from hitl.desk.inbox import Inbox
from hitl.models.inbox_views import MAX_VIEW_NAME_LENGTH
from hitl.states import Risk
from hitl.text import sanitize

# Chosen: so many kept views stand beside each other on one line; the others are in a menu.
_MAX_TABS = 3
_ALL = Filter()
_MINE = Filter(is_mine=True)


@dataclass(frozen=True, slots=True)
class FilterPart:
    """One part of a filter, and the filter without it."""

    label: str
    text: SafeString | str
    without: Filter


def context(operator: Operator, chosen: Filter, cursor: str) -> dict[str, Any]:
    """Return the context of `hitl/inbox.html`."""
    inbox = inboxes.read(operator, chosen, cursor)
    # An order is none of the views, so each view can be looked at in any order.
    what = replace(chosen, sort=_ALL.sort)
    views = [
        (view, Filter.from_view(view.query), sanitize.marked(view.name))
        for view in inbox_views.of(operator.username)
    ]
    view = next((view for view, its, _name in views if its in (chosen, what)), None)
    tabs = views[:_MAX_TABS]
    if view is not None and all(each != view for each, _its, _name in tabs):
        tabs = [*tabs[:-1], *(one for one in views if one[0] == view)]
    parts = filter_parts(chosen)
    return {
        "inbox": inbox,
        "rows": rows.render(inbox, operator, chosen.view_query),
        "now": f"{clocks.now().timestamp():.3f}",
        "operator": operator,
        "texts": script_texts.as_json(),
        "may_decide": bool(permissions.decides_in(operator)),
        "chosen": chosen,
        "ignored": _("No filter can have these values; they are ignored: %(names)s")
        % {"names": ", ".join(chosen.ignored)}
        if chosen.ignored
        else "",
        "parts": parts,
        "is_all": what == _ALL,
        "is_mine": what == _MINE,
        "mine": _MINE,
        "tabs": tabs,
        "more_views": [one for one in views if one not in tabs],
        "view": view,
        "name_length": MAX_VIEW_NAME_LENGTH,
        "count": number(inbox.count),
        "mine_count": number(inbox.mine),
        "range": page_range(inbox),
        "previous": _page_link(chosen, inbox.previous),
        "next": _page_link(chosen, inbox.next),
        "tenants": [(t, sanitize.plain(t)) for t in operator.tenants],
        "risks": Risk.choices,
        "sorts": Sort.choices,
        "choices": inboxes.choices(operator),
    }


def filter_parts(chosen: Filter) -> list[FilterPart]:
    """Return the parts of a filter in words, but for its order."""
    texts = [
        (_("search"), chosen.search, replace(chosen, search="")),
        (_("tenant"), chosen.tenant, replace(chosen, tenant="")),
        (_("action"), chosen.action, replace(chosen, action="")),
        (_("asked by"), chosen.asker, replace(chosen, asker="")),
        (_("agent"), chosen.agent, replace(chosen, agent="")),
    ]
    parts = [
        FilterPart(label, sanitize.marked(text), without) for label, text, without in texts if text
    ]
    if chosen.risk:
        parts.append(FilterPart("", str(Risk(chosen.risk).label), replace(chosen, risk="")))
    if chosen.is_expiring_soon:
        soon = _("expires within 2 minutes")
        parts.append(FilterPart("", soon, replace(chosen, is_expiring_soon=False)))
    if chosen.is_mine and parts:
        parts.append(FilterPart("", _("mine to decide"), replace(chosen, is_mine=False)))
    return parts


def page_range(inbox: Inbox) -> str:
    """Return which of all are on the page: "201–400"; empty if there are no others."""
    if inbox.previous is None and inbox.next is None:
        return ""
    last = min(inbox.before + inboxes.MAX_ROWS, inbox.count)
    return f"{number(inbox.before + 1)}–{number(last)}"


def number(count: int) -> str:
    """Return a count with its thousands apart, as the reader's language writes it."""
    return str(number_format(count, force_grouping=True))


def _page_link(chosen: Filter, cursor: str | None) -> str | None:
    """Return the query of the page after a cursor; None if there is no such page."""
    if cursor is None:
        return None
    query = "&".join(filter(None, [chosen.query, urlencode({"after": cursor}) if cursor else ""]))
    return f"?{query}"
