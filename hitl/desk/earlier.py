"""What was decided earlier on the same action, and on the same action with the same arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from hitl.desk import wording
from hitl.models import ApprovalRequest
from hitl.states import Status
from hitl.text import sanitize

# Chosen: fits beside the request without scrolling.
MAX_SHOWN = 10
# Chosen: counting goes no further, because counting all reads all. The page says so.
MAX_COUNTED = 1000

# A request that has ended: its key and its status.
Ended = tuple[int, str]


@dataclass(frozen=True, slots=True)
class EarlierList:
    """The newest of some ended requests, and how many of them ended in which way."""

    title: str
    summary: str
    # What is said where there are none.
    none: str
    rows: list[dict[str, Any]]
    is_open: bool = False


def lists(request: ApprovalRequest) -> list[EarlierList]:
    """Return the ended requests of the same tenant and action, first those with the same arguments;
    seven queries, each of a bounded stretch of an index."""
    same = ApprovalRequest.objects.filter(
        tenant_id=request.tenant_id, action_type=request.action_type
    ).exclude(pk=request.pk)
    of_arguments = _ended_with(request)
    of_action = _ended(same)
    shown = {pk for pk, _status in (*of_arguments[:MAX_SHOWN], *of_action[:MAX_SHOWN])}
    rows = ApprovalRequest.objects.in_bulk(shown)
    made = [
        EarlierList(
            _("Same action and same arguments"),
            _summary(of_arguments),
            _("None yet with the same arguments."),
            _rows(of_arguments, rows),
        ),
        EarlierList(
            _("Same action"),
            _summary(of_action),
            _("None yet in this tenant."),
            _rows(of_action, rows),
        ),
    ]
    if not of_action:
        return made[1:]
    opened = 0 if of_arguments else 1
    return [replace(one, is_open=number == opened) for number, one in enumerate(made)]


def _ended_with(request: ApprovalRequest) -> list[Ended]:
    """Return those of the same action among the tenant's newest that have ended with the same
    context."""
    ended = (
        ApprovalRequest.objects.filter(
            tenant_id=request.tenant_id, context_digest=request.context_digest
        )
        .exclude(status=Status.PENDING)
        .exclude(pk=request.pk)
    )
    newest = list(ended.order_by("-id").values_list("pk", "status")[:MAX_COUNTED])
    # An index alone has these. The action is compared afterwards: no index takes both texts.
    same = ApprovalRequest.objects.filter(pk__in=[pk for pk, _ in newest] or [0])
    pks = set(same.filter(action_type=request.action_type).values_list("pk", flat=True))
    return [(pk, status) for pk, status in newest if pk in pks]


def _ended(same: QuerySet[ApprovalRequest]) -> list[Ended]:
    """Return the newest that have ended.

    Read the newest keys of each status, because an index alone has them. For whole rows, or for
    every status but pending, a planner may scan every younger row.
    """
    newest = [
        (pk, status.value)
        for status in Status
        if status is not Status.PENDING
        for pk in same.filter(status=status)
        .order_by("-id")
        .values_list("pk", flat=True)[:MAX_COUNTED]
    ]
    return sorted(newest, reverse=True)[:MAX_COUNTED]


def _summary(ended: Sequence[Ended]) -> str:
    """Return how many ended in which way, such as "approved 12, rejected 1, expired 0"."""
    counts = Counter(status for _pk, status in ended)
    always = (Status.APPROVED, Status.REJECTED, Status.EXPIRED)
    each = ", ".join(
        f"{status.label} {counts[status]}"
        for status in (*always, Status.CANCELLED)
        if status in always or counts[status]
    )
    if len(ended) < MAX_COUNTED:
        return each
    return _("%(counts)s of the newest %(count)d") % {"counts": each, "count": len(ended)}


def _rows(ended: Sequence[Ended], rows: dict[int, ApprovalRequest]) -> list[dict[str, Any]]:
    return [
        {
            "request": row,
            "headline": wording.headline(row),
            "decided_by": sanitize.marked(row.decided_by),
            "reason": sanitize.marked(row.reason) if row.reason else "",
        }
        for pk, _status in ended[:MAX_SHOWN]
        if (row := rows.get(pk)) is not None
    ]
