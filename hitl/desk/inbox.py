"""The inbox: the pending requests of an operator's tenants, the most urgent first, at most 200."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import prefetch_related_objects

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl.actors import person_key
from hitl.models import ApprovalRequest, Vote

# Chosen: as many as an operator scans; the page says when more are pending.
MAX_ROWS = 200
# Subqueries of one statement. SQLite takes 500 (SQLITE_MAX_COMPOUND_SELECT).
_MAX_TENANTS = 100


@dataclass(frozen=True, slots=True)
class Inbox:
    """Pending requests, the soonest to expire first."""

    requests: list[ApprovalRequest]
    # Whether more are pending than are listed.
    is_cut: bool
    # The keys of those on which this operator has voted already.
    voted: frozenset[int]

    @property
    def count(self) -> str:
        """Return how many are listed, with a plus sign if more are pending."""
        return f"{len(self.requests)}{'+' if self.is_cut else ''}"

    def for_me(self) -> list[ApprovalRequest]:
        """Return the requests that this operator has not voted on."""
        return [request for request in self.requests if request.pk not in self.voted]


def read(operator: Operator, *, now: datetime | None = None) -> Inbox:
    """Read the pending requests of the operator's tenants in three queries at most."""
    now = now or clocks.now()
    pending = sorted(
        _soonest_to_expire(operator.tenants, now), key=lambda row: (row.expires_at, row.pk)
    )
    requests = pending[:MAX_ROWS]
    prefetch_related_objects(requests, "policy")
    person = person_key(operator.username)
    votes = Vote.objects.filter(request__in=[row.pk for row in requests], person=person)
    return Inbox(
        requests=requests,
        is_cut=len(pending) > MAX_ROWS,
        voted=frozenset(votes.values_list("request_id", flat=True)),
    )


def neighbours(inbox: Inbox, pk: int) -> tuple[int | None, int | None]:
    """Return the keys of the requests before and after this one in the inbox; None at an end."""
    keys = [request.pk for request in inbox.requests]
    if pk not in keys:
        return None, keys[0] if keys else None
    place = keys.index(pk)
    before = keys[place - 1] if place else None
    return before, keys[place + 1] if place + 1 < len(keys) else None


def _soonest_to_expire(tenants: Sequence[str], now: datetime) -> Iterator[ApprovalRequest]:
    """Yield the soonest to expire of each tenant, unordered.

    One statement reads a slice per tenant, each from the beginning of the index
    `request_open_of_tenant`; `tenant_id IN (…)` would sort all open requests. SQLite does not take
    the ORM's union of slices, so the ORM makes the parts and they are joined here.
    """
    for start in range(0, len(tenants), _MAX_TENANTS):
        parts: list[str] = []
        params: list[object] = []
        for number, tenant in enumerate(tenants[start : start + _MAX_TENANTS]):
            slice_ = ApprovalRequest.objects.filter(tenant_id=tenant).undecided_at(now)
            query = slice_.order_by("expires_at", "pk")[: MAX_ROWS + 1].query
            sql, values = query.sql_with_params()
            # Safe: the ORM writes the names, and the values are parameters.
            parts.append(f"SELECT * FROM ({sql}) AS part{number}")  # noqa: S608
            params.extend(values)
        if parts:
            yield from ApprovalRequest.objects.raw(" UNION ALL ".join(parts), tuple(params))
