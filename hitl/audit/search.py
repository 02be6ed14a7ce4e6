"""Searches the audit records of one tenant, by index, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from hitl.models import AuditRecord
from hitl.states import AuditEvent

# Chosen: what a person reads on one page.
PAGE_SIZE = 50
# Chosen: counting goes no further, because counting millions reads millions.
MOST_COUNTED = 1000
# Chosen: several conditions are searched among so many records that meet the first one.
MOST_LOOKED_THROUGH = 10_000


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """The conditions of a search; an empty one matches anything."""

    tenant_id: str
    since: datetime | None = None
    until: datetime | None = None
    actor: str = ""
    # One event, or what stands before the colon, for all of those: `membership`.
    event: str = ""
    action: str = ""
    request_id: str = ""
    # The next page: records that come after this number in the order of the page before.
    before: int | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Some of the matching records, newest first."""

    records: list[AuditRecord]
    # `SearchQuery.before` of the next page; None on the last.
    next_before: int | None
    count: int
    # Only MOST_LOOKED_THROUGH were searched; older records may match as well.
    is_cut: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether `count` is the number of all matches."""
        return self.count <= MOST_COUNTED


def search(query: SearchQuery) -> SearchPage:
    """Return one page of the matching records, and their number up to MOST_COUNTED.

    It reads a bounded number of records whatever the conditions are: a page is the beginning of a
    range of one index. No index serves several conditions together; then the newest records that
    meet the first one are searched, and the next page goes on behind them.
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
    }
    conditions = {name: [value] for name, value in exact.items() if value}
    if query.event:
        conditions["event"] = _events_of(query.event)
    is_by_number = not conditions and query.since is None and query.until is None
    older = Q()
    if query.before is not None:
        older = _older_than(query.tenant_id, query.before, is_by_number=is_by_number)
    order = ("-sequence",) if is_by_number else ("-at", "-sequence")
    if len(conditions) > 1:
        return _search_newest(records.filter(older).order_by(*order), conditions)
    # Several events are several ranges of the index, each read for itself.
    ranges = [
        records.filter(**{name: value}) for name, values in conditions.items() for value in values
    ] or [records]
    count = sum(each.order_by()[: MOST_COUNTED + 1].count() for each in ranges)
    page = [row for each in ranges for row in each.filter(older).order_by(*order)[: PAGE_SIZE + 1]]
    if len(ranges) > 1:
        page.sort(key=lambda record: (record.at, record.sequence), reverse=True)
    has_more = len(page) > PAGE_SIZE
    return SearchPage(page[:PAGE_SIZE], page[PAGE_SIZE - 1].sequence if has_more else None, count)


def _events_of(name: str) -> list[str]:
    events = [each for each in AuditEvent.values if each.startswith(f"{name}:")]
    return events or [name]


def _search_newest(records: QuerySet[AuditRecord], conditions: dict[str, list[str]]) -> SearchPage:
    """Return the records that meet all conditions, among the newest that meet the first one.

    Python compares them: a database's planner may read everything until it has enough matches.
    """
    first, *others = conditions
    window = records.filter(**{first: conditions[first][0]}).values_list("sequence", "pk", *others)
    newest = list(window[:MOST_LOOKED_THROUGH])
    # The first is never the event, and so has one value.
    allowed = [conditions[name] for name in others]
    matches = [
        (sequence, pk)
        for sequence, pk, *rest in newest
        if all(value in each for value, each in zip(rest, allowed, strict=True))
    ]
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
    # An index can use the first condition; the second one makes it exact.
    return Q(at__lte=at) & (Q(at__lt=at) | Q(sequence__lt=before))


def records_of_request(
    request_id: str, tenant_id: str, *, most: int = 500
) -> tuple[list[AuditRecord], bool]:
    """Return the records of one request, oldest first, and whether they are all: of more than
    `most` (chosen: what a page shows at once) the first half and the last half.

    The order is that of the chain: whoever inserts a row chooses its id.
    """
    records = AuditRecord.objects.filter(request_id=request_id, tenant_id=tenant_id)
    first = list(records.order_by("sequence")[: most + 1])
    if len(first) <= most:
        return first, True
    last = list(records.order_by("-sequence")[: most // 2])
    return [*first[: most // 2], *reversed(last)], False
