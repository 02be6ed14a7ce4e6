"""What the live pages show of the board: the requests that an inbox's filter lists, and what is the
operator's to decide. Computed in memory, from the changed entries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.translation import get_language

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl.actors import person_key
from hitl.desk import filters, rows, wording
from hitl.desk.board import BoardEntry
from hitl.desk.filters import Filter
from hitl.models import ApprovalRequest

# Of what came while a browser was connecting again, it hears of the newest. Chosen: later it is no
# news, and more are not read.
_MISSED = timedelta(minutes=10)
_MAX_MISSED = 20
# Of so many that come at once a message has the rows as well. Chosen: fewer come between a page and
# its stream.
_MAX_LOOKS = 50

Message = dict[str, Any]


class LivePage:
    """Knows which pending requests are the operator's to decide."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self._person = person_key(operator.username)
        self._mine: set[int] = set()
        self._known: dict[tuple[Any, ...], bool] = {}

    def has_voted(self, entry: BoardEntry) -> bool:
        """Say whether the operator has voted on the request."""
        return self._person in entry.voters

    def is_mine(self, entry: BoardEntry) -> bool:
        """Say whether the request is the operator's to decide."""
        request, has_voted = entry.request, self.has_voted(entry)
        # All that `filters.is_mine` looks at; thousands of requests come to a few of these.
        case = (
            *(request.tenant_id, request.policy_id, request.escalated_at is None),
            *(request.user_id, has_voted),
        )
        if case not in self._known:
            self._known[case] = filters.is_mine(request, self.operator, has_voted=has_voted)
        return entry.is_pending and self._known[case]

    def count_mine(self, entries: Mapping[int, BoardEntry]) -> set[int]:
        """Take the entries into what is the operator's to decide; return what is new there."""
        mine = {pk for pk, entry in entries.items() if self.is_mine(entry)}
        arrived = mine - self._mine
        self._mine = (self._mine - entries.keys()) | mine
        return arrived

    @property
    def facts(self) -> Message:
        """Return what every message says: the time, and how much is the operator's to decide."""
        return {"now": int(clocks.estimate().timestamp() * 1000), "mine": len(self._mine)}


class LiveInbox(LivePage):
    """The requests that an inbox with a filter lists."""

    def __init__(self, operator: Operator, filter_: Filter) -> None:
        super().__init__(operator)
        self._filter = filter_
        # What time alone changes is kept apart: those that match otherwise, with their ends.
        self._timeless = replace(filter_, is_expiring_soon=False)
        self._ends: dict[int, datetime] = {}
        self._keys: set[int] = set()

    @property
    def changes_with_time(self) -> bool:
        """Say whether the list may change though no request does."""
        return self._filter.is_expiring_soon

    def begin(self, entries: Mapping[int, BoardEntry]) -> Message:
        """Return the first message, with the keys of all that match. A search takes a statement,
        because the entries have no contexts."""
        now = clocks.estimate()
        if self._filter.search:
            keys = self._keys_in_database(now) & entries.keys()
        else:
            keys = {pk for pk, entry in entries.items() if self._matches(entry, now)}
        self._ends = {pk: entries[pk].request.expires_at for pk in keys}
        self._keys = self._timely(now)
        self.count_mine(entries)
        facts = {"count": len(self._keys), "arrived": [], "rows": {}, "gone": {}}
        return {**self.facts, **facts, "keys": sorted(self._keys)}

    def update(
        self,
        changed: Mapping[int, BoardEntry],
        entry_of: Callable[[int], BoardEntry | None] = lambda pk: None,
    ) -> Message | None:
        """Return the message on what has changed, or None if nothing has on this page.

        `entry_of` returns the entry of a request that comes in by time alone.
        """
        now = clocks.estimate()
        before, mine_before = self._keys, len(self._mine)
        for pk, entry in changed.items():
            if self._matches(entry, now):
                self._ends[pk] = entry.request.expires_at
            else:
                self._ends.pop(pk, None)
        self.count_mine(changed)
        self._keys = self._timely(now)
        arrived = [
            {"pk": pk, "text": _headline(came)}
            for pk in sorted(self._keys - before)
            if (came := changed.get(pk) or entry_of(pk)) is not None
        ]
        different = {pk: changed[pk] for pk in changed.keys() & self._keys & before}
        # A page that was read a moment ago may list them already, as they looked then.
        looks = different | {
            pk: changed[pk] for pk in sorted(changed.keys() & (self._keys - before))[:_MAX_LOOKS]
        }
        gone = {pk: _ending(changed.get(pk)) for pk in before - self._keys}
        if not (arrived or different or gone) and len(self._mine) == mine_before:
            return None
        return {
            **self.facts,
            "count": len(self._keys),
            "arrived": arrived,
            "rows": {pk: self._row(entry) for pk, entry in looks.items()},
            "gone": gone,
        }

    def _matches(self, entry: BoardEntry, now: datetime) -> bool:
        return entry.is_pending and self._timeless.matches(
            entry.request, self.operator, has_voted=self.has_voted(entry), now=now
        )

    def _timely(self, now: datetime) -> set[int]:
        if not self.changes_with_time:
            return set(self._ends)
        return {pk for pk, end in self._ends.items() if end <= now + filters.SOON}

    def _keys_in_database(self, now: datetime) -> set[int]:
        requests = ApprovalRequest.objects.filter(self._timeless.q(self.operator, now))
        likely = requests.select_related("policy").order_by().iterator()
        return {request.pk for request in likely if self._timeless.is_found(request)}

    def _row(self, entry: BoardEntry) -> str:
        variant = rows.variant(entry.request, self.operator, has_voted=self.has_voted(entry))
        return entry.text(
            ("row", get_language(), *variant.values()),
            lambda: rows.html(entry.request, view_query="", **variant),
        )


class LiveDesk(LivePage):
    """What is the operator's to decide, and what is new of that: for titles and alerts."""

    _last = 0

    def begin(self, entries: Mapping[int, BoardEntry], after: int | None = None) -> Message:
        """Return the first message; to a browser that has heard of requests up to the key `after`,
        with what came while it was connecting again."""
        mine, since = self.count_mine(entries), clocks.estimate() - _MISSED
        missed = [
            pk
            for pk in sorted(mine)
            if after is not None and pk > after and entries[pk].request.created_at > since
        ]
        self._last = max(entries, default=after or 0)
        return self._message(entries[pk] for pk in missed[-_MAX_MISSED:])

    def update(self, changed: Mapping[int, BoardEntry]) -> Message | None:
        """Return the message on what has changed, or None if nothing has."""
        before = len(self._mine)
        arrived = self.count_mine(changed)
        self._last = max([self._last, *changed])
        if not arrived and len(self._mine) == before:
            return None
        return self._message(changed[pk] for pk in sorted(arrived))

    def _message(self, arrived: Iterable[BoardEntry]) -> Message:
        return {
            **self.facts,
            # The highest key that the browser has heard of from now on.
            "last": self._last,
            "arrived": [
                {
                    "pk": entry.request.pk,
                    "text": _headline(entry),
                    "url": reverse("admin:hitl_approvalrequest_change", args=[entry.request.pk]),
                }
                for entry in arrived
            ],
        }


def _headline(entry: BoardEntry) -> str:
    kind = ("headline", get_language())
    return entry.text(kind, lambda: wording.headline_text(entry.request))


def _ending(entry: BoardEntry | None) -> str:
    """Return how a request ended; empty if it is still pending."""
    if entry is None or entry.is_pending:
        return ""
    return entry.text(("ending", get_language()), lambda: wording.ending(entry.request))
