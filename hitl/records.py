"""Finds audit records for people: of one tenant, by index, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from hitl.models import AuditRecord

PAGE = 50
# Counted no further: counting millions reads millions.
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Search:
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
class Page:
    """Some of what was found, newest first."""

    records: list[AuditRecord]
    # What `before` is of the next page; None on the last.
    next_before: int | None
    count: int

    @property
    def is_counted(self) -> bool:
        """Whether `count` is all there are."""
        return self.count <= MOST_COUNTED


def search(wanted: Search) -> Page:
    """Return one page of what is wanted, with how many there are in all, up to a limit."""
    exact = {
        "actor": wanted.actor,
        "event": wanted.event,
        "action_type": wanted.action,
        "request_id": wanted.request_id,
    }
    found = AuditRecord.objects.filter(
        tenant_id=wanted.tenant_id, **{name: value for name, value in exact.items() if value}
    )
    if wanted.since is not None:
        found = found.filter(at__gte=wanted.since)
    if wanted.until is not None:
        found = found.filter(at__lte=wanted.until)
    is_by_time = wanted.since is not None or wanted.until is not None
    count = found.order_by()[: MOST_COUNTED + 1].count()
    # A range of time is read along the index by time. Along the numbers, a range long ago would
    # be looked for through everything that is younger.
    found = found.order_by("-at", "-sequence") if is_by_time else found.order_by("-sequence")
    if wanted.before is not None:
        found = found.filter(_older(wanted.tenant_id, wanted.before, is_by_time=is_by_time))
    records = list(found[: PAGE + 1])
    has_more = len(records) > PAGE
    return Page(records[:PAGE], records[PAGE - 1].sequence if has_more else None, count)


def _older(tenant_id: str, before: int, *, is_by_time: bool) -> Q:
    if not is_by_time:
        return Q(sequence__lt=before)
    last = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=before)
    at = last.values_list("at", flat=True).first()
    if at is None:
        return Q(sequence__lt=before)
    # The first condition is what an index can use; the second is what is meant.
    return Q(at__lte=at) & (Q(at__lt=at) | Q(sequence__lt=before))


def of_request(request_id: str, tenant_id: str, *, most: int = 500) -> list[AuditRecord]:
    """Return the first records of one request, oldest first."""
    found = AuditRecord.objects.filter(request_id=request_id, tenant_id=tenant_id)
    return list(found.order_by("id")[:most])
