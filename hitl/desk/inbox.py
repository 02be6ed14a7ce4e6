"""The inbox: the pending requests of an operator's tenants that a filter lists, 200 to a page."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl.actors import person_key
from hitl.desk.filters import Filter, Sort
from hitl.models import ApprovalRequest, Vote
from hitl.policies.rules import rule_of
from hitl.states import RISK_RANK, Status

# Chosen: as many as an operator scans.
MAX_ROWS = 200
# Chosen: as many as a browser's list of suggestions is of use for.
_MAX_CHOICES = 50
# Requests that are read at once when their texts are searched; each may be of 200 kB.
_SEARCHED_AT_ONCE = 100
_CURSOR = re.compile(r"-?[0-9]{1,18}(?:\.-?[0-9]{1,18}){1,2}")

# What a request is sorted by, and last its key, which is negative where the newest come first.
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Inbox:
    """One page of the pending requests that a filter lists."""

    requests: list[ApprovalRequest]
    # The keys of those on which this operator has voted already.
    voted: frozenset[int]
    # How many the filter lists, on all pages.
    count: int
    # How many wait for this operator's decision, whatever the filter.
    mine: int
    # How many are listed on the pages before.
    before: int
    # The greatest key of all that the filter lists: what comes later has a greater one.
    newest: int
    # The cursors of the pages before and after this one; None if there is none.
    previous: str | None
    next: str | None


def read(
    operator: Operator,
    chosen: Filter | None = None,
    cursor: str = "",
    *,
    now: datetime | None = None,
) -> Inbox:
    """Read the page after `cursor` in four queries; the first page if that is no cursor."""
    now = now or clocks.now()
    chosen = chosen or Filter()
    places = in_order(operator, chosen, now)
    start = _start(places, cursor)
    keys = [abs(place[-1]) for place in places[start : start + MAX_ROWS]]
    by_key = ApprovalRequest.objects.select_related("policy").in_bulk(keys)
    # One may have ended since the first query.
    requests = [by_key[key] for key in keys if by_key[key].status == Status.PENDING]
    votes = Vote.objects.filter(request__in=keys, person=person_key(operator.username))
    mine = ApprovalRequest.objects.filter(Filter(is_mine=True).q(operator, now))
    return Inbox(
        requests=requests,
        voted=frozenset(votes.values_list("request_id", flat=True)),
        count=len(places),
        mine=mine.count(),
        before=start,
        newest=max((abs(place[-1]) for place in places), default=0),
        previous=_cursor_before(places, start - MAX_ROWS) if start else None,
        next=_cursor_before(places, start + MAX_ROWS) if start + MAX_ROWS < len(places) else None,
    )


def in_order(operator: Operator, chosen: Filter, now: datetime) -> list[Place]:
    """Return the places of all that the filter lists, in its order.

    Few columns of each are read, from the index `request_open_of_tenant`. Their texts are read
    only to search them, and only of those in which the database finds the words.
    """
    listed = ApprovalRequest.objects.filter(chosen.q(operator, now)).order_by()
    if chosen.search:
        candidates = listed.select_related("policy").iterator(_SEARCHED_AT_ONCE)
        return sorted(place_of(row, chosen.sort) for row in candidates if chosen.is_found(row))
    columns = listed.values_list("expires_at", "created_at", "policy__risk", "pk")
    return sorted(_place(chosen.sort, *row) for row in columns.iterator())


def place_of(request: ApprovalRequest, sort: str) -> Place:
    """Return the place of a request, with its policy, in this order."""
    risk = rule_of(request).risk
    return _place(sort, request.expires_at, request.created_at, risk, request.pk)


def neighbours(
    operator: Operator, request: ApprovalRequest, chosen: Filter
) -> tuple[int | None, int | None]:
    """Return the keys of the requests before and after this one; None at an end."""
    places = in_order(operator, chosen, clocks.now())
    place = place_of(request, chosen.sort)
    before, after = bisect_left(places, place), bisect_right(places, place)
    return (
        abs(places[before - 1][-1]) if before else None,
        abs(places[after][-1]) if after < len(places) else None,
    )


def choices(operator: Operator) -> dict[str, list[str]]:
    """Return the most frequent actions, askers and agents of what is pending, by parameter."""
    pending = ApprovalRequest.objects.filter(Filter().q(operator, clocks.now())).order_by()
    return {
        parameter: [
            text
            for text, _count in pending.exclude(**{column: ""})
            .values_list(column)
            .annotate(times=Count("pk"))
            .order_by("-times", column)[:_MAX_CHOICES]
        ]
        for parameter, column in (
            ("action", "action_type"),
            ("asker", "user_id"),
            ("agent", "agent_id"),
        )
    }


def _place(
    sort: str, expires_at: datetime, created_at: datetime, risk: str | None, pk: int
) -> Place:
    match sort:
        case Sort.NEWEST:
            return -_microseconds(created_at), -pk
        case Sort.OLDEST:
            return _microseconds(created_at), pk
        case Sort.RISK:
            return -RISK_RANK.get(risk or "", 0), _microseconds(expires_at), pk
        case _:
            return _microseconds(expires_at), pk


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _start(places: list[Place], cursor: str) -> int:
    """Return where the page after a cursor begins; the last page if nothing is left after it."""
    if not _CURSOR.fullmatch(cursor):
        return 0
    start = bisect_right(places, tuple(int(number) for number in cursor.split(".")))
    return start if start < len(places) else max(0, len(places) - MAX_ROWS)


def _cursor_before(places: list[Place], start: int) -> str:
    """Return the cursor of the page that begins at `start`; that of the first page is empty."""
    return ".".join(map(str, places[start - 1])) if start > 0 else ""
