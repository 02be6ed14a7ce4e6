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


def search(wanted: SearchQuery) -> SearchPage:
    """Return one page of what is wanted, with how many there are in all, up to a limit.

    Whatever is asked, it reads a bounded number of records: a page is the beginning of a stretch
    of one index. Where several conditions hold together no index has them; then the newest that
    meet the first are looked through, and the next page goes on behind them.
    """
    found = AuditRecord.objects.filter(tenant_id=wanted.tenant_id)
    if wanted.since is not None:
        found = found.filter(at__gte=wanted.since)
    if wanted.until is not None:
        found = found.filter(at__lte=wanted.until)
    exact = {
        "request_id": wanted.request_id,
        "actor": wanted.actor,
        "action_type": wanted.action,
        "event": wanted.event,
    }
    asked = {name: value for name, value in exact.items() if value}
    is_by_number = not asked and wanted.since is None and wanted.until is None
    older = Q()
    if wanted.before is not None:
        older = _older(wanted.tenant_id, wanted.before, is_by_number=is_by_number)
    order = ("-sequence",) if is_by_number else ("-at", "-sequence")
    if len(asked) > 1:
        return _looked_through(found.filter(older).order_by(*order), asked)
    found = found.filter(**asked)
    count = found.order_by()[: MOST_COUNTED + 1].count()
    records = list(found.filter(older).order_by(*order)[: PAGE_SIZE + 1])
    has_more = len(records) > PAGE_SIZE
    return SearchPage(
        records[:PAGE_SIZE], records[PAGE_SIZE - 1].sequence if has_more else None, count
    )


def _looked_through(found: QuerySet[AuditRecord], asked: dict[str, str]) -> SearchPage:
    """Return the page of those that meet all that is asked among the newest that meet the first.

    In Python: a planner that is asked for them may read everything until it has found enough.
    """
    first, *others = asked
    window = found.filter(**{first: asked[first]}).values_list("sequence", "pk", *others)
    seen = list(window[:MOST_LOOKED_THROUGH])
    wanted = tuple(asked[name] for name in others)
    met = [(sequence, pk) for sequence, pk, *values in seen if tuple(values) == wanted]
    is_cut = len(seen) == MOST_LOOKED_THROUGH
    if len(met) > PAGE_SIZE:
        next_before: int | None = met[PAGE_SIZE - 1][0]
    else:
        next_before = seen[-1][0] if is_cut else None
    records = AuditRecord.objects.in_bulk([pk for _sequence, pk in met[:PAGE_SIZE]])
    return SearchPage(
        [records[pk] for _sequence, pk in met[:PAGE_SIZE]],
        next_before,
        min(len(met), MOST_COUNTED + 1),
        is_cut=is_cut,
    )


def _older(tenant_id: str, before: int, *, is_by_number: bool) -> Q:
    if is_by_number:
        return Q(sequence__lt=before)
    last = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=before)
    at = last.values_list("at", flat=True).first()
    if at is None:
        return Q(sequence__lt=before)
    # The first condition is what an index can use; the second is what is meant.
    return Q(at__lte=at) & (Q(at__lt=at) | Q(sequence__lt=before))


def of_request(
    request_id: str, tenant_id: str, *, most: int = 500
) -> tuple[list[AuditRecord], bool]:
    """Return the records of one request, oldest first, and whether all: of more than `most` the
    first half and the last."""
    found = AuditRecord.objects.filter(request_id=request_id, tenant_id=tenant_id)
    first = list(found.order_by("id")[: most + 1])
    if len(first) <= most:
        return first, True
    last = list(found.order_by("-id")[: most // 2])
    return [*first[: most // 2], *reversed(last)], False
