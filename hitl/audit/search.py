"""Finds audit records for people: of one tenant, by index, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from hitl.models import AuditRecord

PAGE_SIZE = 50
# Counted no further: counting millions reads millions.
MOST_COUNTED = 1000
# What is asked together is looked for among so many that meet the first of it.
MOST_LOOKED_THROUGH = 10_000


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is looked for; empty is anything."""

    tenant_id: str
    since: datetime | None = None
    until: datetime | None = None
    actor: str = ""
    event: str = ""
    action: str = ""
    request_id: str = ""
    # Records older than this one's number, in the order of the page before.
    before: int | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Some of what was found, newest first."""

    records: list[AuditRecord]
    # What `before` is of the next page; None on the last.
    next_before: int | None
    count: int
    # Only so many were looked through, and older ones may meet what is asked as well.
    is_cut: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether `count` is all there are."""
        return self.count <= MOST_COUNTED


def search(query: SearchQuery) -> SearchPage:
    """Return one page of what is wanted, with how many there are in all, up to a limit.

    Whatever is asked, it reads a bounded number of records: a page is the beginning of a stretch
    of one index. Where several conditions hold together no index has them; then the newest that
    meet the first are looked through, and the next page goes on behind them.
    """
    records = AuditRecord.objects.filter(tenant_id=query.tenant_id)
    if query.since is not None:
        records = records.filter(at__gte=query.since)
    if query.until is not None:
        records = records.filter(at__lte=query.until)
    exact = {
        "request_id": query.request_id,
        "actor": query.actor,
        "action_type": query.action,
        "event": query.event,
    }
    conditions = {name: value for name, value in exact.items() if value}
    is_by_number = not conditions and query.since is None and query.until is None
    older = Q()
    if query.before is not None:
        older = _older_than(query.tenant_id, query.before, is_by_number=is_by_number)
    order = ("-sequence",) if is_by_number else ("-at", "-sequence")
    if len(conditions) > 1:
        return _search_newest(records.filter(older).order_by(*order), conditions)
    records = records.filter(**conditions)
    count = records.order_by()[: MOST_COUNTED + 1].count()
    page = list(records.filter(older).order_by(*order)[: PAGE_SIZE + 1])
    has_more = len(page) > PAGE_SIZE
    return SearchPage(page[:PAGE_SIZE], page[PAGE_SIZE - 1].sequence if has_more else None, count)


def _search_newest(records: QuerySet[AuditRecord], conditions: dict[str, str]) -> SearchPage:
    """Return the page of those that meet all that is asked among the newest that meet the first.

    In Python: a planner that is asked for them may read everything until it has found enough.
    """
    first, *others = conditions
    window = records.filter(**{first: conditions[first]}).values_list("sequence", "pk", *others)
    newest = list(window[:MOST_LOOKED_THROUGH])
    values = tuple(conditions[name] for name in others)
    matches = [(sequence, pk) for sequence, pk, *rest in newest if tuple(rest) == values]
    is_cut = len(newest) == MOST_LOOKED_THROUGH
    if len(matches) > PAGE_SIZE:
        next_before: int | None = matches[PAGE_SIZE - 1][0]
    else:
        next_before = newest[-1][0] if is_cut else None
    by_key = AuditRecord.objects.in_bulk([pk for _sequence, pk in matches[:PAGE_SIZE]])
    return SearchPage(
        [by_key[pk] for _sequence, pk in matches[:PAGE_SIZE]],
        next_before,
        min(len(matches), MOST_COUNTED + 1),
        is_cut=is_cut,
    )


def _older_than(tenant_id: str, before: int, *, is_by_number: bool) -> Q:
    if is_by_number:
        return Q(sequence__lt=before)
    last = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=before)
    at = last.values_list("at", flat=True).first()
    if at is None:
        return Q(sequence__lt=before)
    # The first condition is what an index can use; the second is what is meant.
    return Q(at__lte=at) & (Q(at__lt=at) | Q(sequence__lt=before))


def records_of_request(
    request_id: str, tenant_id: str, *, most: int = 500
) -> tuple[list[AuditRecord], bool]:
    """Return the records of one request, oldest first, and whether all: of more than `most` the
    first half and the last."""
    records = AuditRecord.objects.filter(request_id=request_id, tenant_id=tenant_id)
    first = list(records.order_by("id")[: most + 1])
    if len(first) <= most:
        return first, True
    last = list(records.order_by("-id")[: most // 2])
    return [*first[: most // 2], *reversed(last)], False
