"""What was decided earlier on the same action, and on the same action with the same arguments.

Of a request that has ended: what was asked before it and had ended when it did, so that nobody
holds against an approver what they could not know.
"""

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
    seven queries, each of a bounded stretch of an index or of bounded rows, and one of bounded rows
    if the request has ended."""
    others = ApprovalRequest.objects.filter(tenant_id=request.tenant_id)
    # By key, because an index has it and no index has the time: what was asked later and had ended
    # all the same is left out.
    is_pending = request.status == Status.PENDING
    others = others.exclude(pk=request.pk) if is_pending else others.filter(pk__lt=request.pk)
    same = others.filter(action_type=request.action_type)
    of_arguments = _ended_with(others, request.context_digest, request.action_type)
    of_action = _ended(same)
    is_cut = [len(ended) == MAX_COUNTED for ended in (of_arguments, of_action)]
    if not is_pending:
        later = _ended_later(request, of_arguments, of_action)
        of_arguments = [each for each in of_arguments if each[0] not in later]
        of_action = [each for each in of_action if each[0] not in later]
    shown = {pk for pk, _status in (*of_arguments[:MAX_SHOWN], *of_action[:MAX_SHOWN])}
    rows = ApprovalRequest.objects.in_bulk(shown)
    made = [
        EarlierList(
            _("Same action and same arguments"),
            _summary(of_arguments, is_cut[0]),
            _("None yet with the same arguments."),
            _rows(of_arguments, rows),
        ),
        EarlierList(
            _("Same action"),
            _summary(of_action, is_cut[1]),
            _("None yet in this tenant."),
            _rows(of_action, rows),
        ),
    ]
    if not of_action:
        return made[1:]
    opened = 0 if of_arguments else 1
    return [replace(one, is_open=number == opened) for number, one in enumerate(made)]


def _ended_later(request: ApprovalRequest, *lists: list[Ended]) -> set[int]:
    """Return the keys of those that ended after the request did."""
    keys = {pk for each in lists for pk, _status in each}
    later = ApprovalRequest.objects.filter(pk__in=keys, decided_at__gt=request.decided_at)
    return set(later.values_list("pk", flat=True))


def _ended_with(
    others: QuerySet[ApprovalRequest], context_digest: str, action_type: str
) -> list[Ended]:
    """Return those of the action among the newest that have ended with this context."""
    ended = others.filter(context_digest=context_digest).exclude(status=Status.PENDING)
    newest = list(ended.order_by("-id").values_list("pk", "status")[:MAX_COUNTED])
    # An index alone has these. The action is compared afterwards: no index takes both texts.
    same = ApprovalRequest.objects.filter(pk__in=[pk for pk, _ in newest] or [0])
    pks = set(same.filter(action_type=action_type).values_list("pk", flat=True))
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


def _summary(ended: Sequence[Ended], is_cut: bool) -> str:
    """Return how many ended in which way, such as "approved 12, rejected 1, expired 0"."""
    counts = Counter(status for _pk, status in ended)
    always = (Status.APPROVED, Status.REJECTED, Status.EXPIRED)
    each = ", ".join(
        f"{status.label} {counts[status]}"
        for status in (*always, Status.CANCELLED)
        if status in always or counts[status]
    )
    if not is_cut:
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
