"""Many requests decided at once: the selection, the number to type, and a result for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project import clocks
from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import Operator
from hitl.actors import Actor, person_key
from hitl.delivery import withholding
from hitl.desk import decisions, rows, wording
from hitl.desk.decisions import DecisionResult, ResultKind
from hitl.desk.inbox import MAX_ROWS
from hitl.models import ApprovalRequest, Vote
from hitl.policies.rules import rule_of
from hitl.states import Status
from hitl.text import sanitize

# Chosen: no more than the inbox lists. desk/inbox.js has the same limit.
MAX_SELECTED = MAX_ROWS


class TooMany(DwpError):
    """More requests are selected than can be decided at once."""

    def __init__(self, count: int) -> None:
        text = _(
            "%(count)d requests are selected; at most %(most)d are decided at once. "
            "Nothing was changed."
        )
        super().__init__(text % {"count": count, "most": MAX_SELECTED})


class NothingSelected(DwpError):
    """No request that this operator sees is selected."""

    def __init__(self) -> None:
        super().__init__(_("No request is selected. Nothing was changed."))


class DecidedAlone(DwpError):
    """The risk of the request is too high for it to be approved or rejected with others."""

    def __init__(self, risk: str) -> None:
        text = _("It is of %(risk)s. Open it and decide it on its own page.")
        super().__init__(text % {"risk": risk})


class AllDecidedAlone(DwpError):
    """Every selected request is one that is decided on its own page."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "From high risk on, a request is decided on its own page and never with others. "
                "Nothing was changed."
            )
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The requests that an operator selected, with the digests of each as it was shown.

    A page that was open before an update sends the digest of the context alone.
    """

    requests: list[ApprovalRequest]
    digests: dict[int, str] = field(default_factory=dict)
    # Those that were selected besides, and that only their own page decides.
    alone: list[ApprovalRequest] = field(default_factory=list)

    @property
    def items(self) -> list[str]:
        """Return the items of a form: key and digests of each request."""
        return [f"{request.pk}:{self.digests[request.pk]}" for request in self.requests]


def selection_from_form(items: Iterable[str], visible: QuerySet[ApprovalRequest]) -> Selection:
    """Return the requests of a form's items, without those that the operator does not see.

    Raises `TooMany`, `NothingSelected` or `AllDecidedAlone`.
    """
    digests = _parse_items(items)
    selected = visible.filter(pk__in=digests).select_related("policy").order_by("expires_at", "pk")
    return _selection(list(selected), digests)


def _selection(selected: list[ApprovalRequest], digests: dict[int, str]) -> Selection:
    alone = [request for request in selected if rule_of(request).is_decided_alone]
    requests = [request for request in selected if request not in alone]
    if not requests:
        raise AllDecidedAlone if alone else NothingSelected
    return Selection(requests, digests, alone)


def keys_out_of_sight(items: Iterable[str], visible: QuerySet[ApprovalRequest]) -> set[int]:
    """Return the keys in a form's items that the operator does not see; raises `TooMany`."""
    named = set(_parse_items(items))
    return named - set(visible.filter(pk__in=named).values_list("pk", flat=True))


def _parse_items(items: Iterable[str]) -> dict[int, str]:
    digests: dict[int, str] = {}
    for item in items:
        key, _colon, digest = item.partition(":")
        if key.isascii() and key.isdigit() and len(key) < 19:
            digests[int(key)] = digest[:129]
    if len(digests) > MAX_SELECTED:
        raise TooMany(len(digests))
    return digests


def selection_from_archive(queryset: QuerySet[ApprovalRequest]) -> Selection:
    """Return the requests that were ticked in the archive, each with its present digests: the page
    that asks for confirmation shows them as they are now.

    Raises `TooMany`, `NothingSelected` or `AllDecidedAlone`.
    """
    requests = list(
        queryset.select_related("policy").order_by("expires_at", "pk")[: MAX_SELECTED + 1]
    )
    if len(requests) > MAX_SELECTED:
        raise TooMany(len(requests))
    return _selection(requests, {request.pk: rows.shown_digests(request) for request in requests})


def number_to_type(selection: Selection) -> str:
    """Return the number that an operator types to approve all of these."""
    return str(len(selection.requests))


def question(selection: Selection, *, is_approval: bool) -> str:
    """Return the question that the operator confirms."""
    count = len(selection.requests)
    text = (
        ngettext("Approve %(count)d request?", "Approve %(count)d requests?", count)
        if is_approval
        else ngettext("Reject %(count)d request?", "Reject %(count)d requests?", count)
    )
    return text % {"count": count}


def decide(
    request: HttpRequest,
    selection: Selection,
    *,
    is_approval: bool,
    reason: str = "",
    comment: str = "",
) -> list[DecisionResult]:
    """Decide each request in a transaction of its own, and return a result for each, also for those
    that are decided alone.

    The reason is that of every rejection, and the comment that of every approval.
    """
    results = []
    for approval_request in selection.requests:
        digest, _point, request_digest = selection.digests[approval_request.pk].partition(".")
        decision = (
            decisions.approval(digest, request_digest or None, comment)
            if is_approval
            else decisions.rejection(digest, reason, request_digest or None)
        )
        results.append(decisions.decide(request, approval_request, decision))
    for approval_request in selection.alone:
        results.append(decisions.decide(request, approval_request, _refuse(approval_request)))
    return results


def _refuse(request: ApprovalRequest) -> decisions.Decide:
    """Return a function that raises `DecidedAlone` for the request."""

    def decision(_request_id: str, _actor: Actor) -> ApprovalRequest:
        raise DecidedAlone(rule_of(request).risk_label)

    return decision


def summary(results: list[DecisionResult]) -> str:
    """Return a sentence with how many requests were decided, voted for and refused."""
    count = Counter(result.kind for result in results)
    decided, voted, refused = (count[kind] for kind in ResultKind)
    texts = [
        (decided, ngettext("%(count)d request decided", "%(count)d requests decided", decided)),
        (voted, _("%(count)d voted (others are needed)")),
        (refused, _("%(count)d refused")),
    ]
    parts = [text % {"count": number} for number, text in texts if number]
    return f"{', '.join(parts)}."


def grouped(results: list[DecisionResult]) -> list[tuple[str, list[DecisionResult]]]:
    """Return the results under a heading for each kind, those first that need a look."""
    headings = {
        ResultKind.REFUSED: _("Refused: nothing was changed"),
        ResultKind.VOTED: _("Voted: others are needed too"),
        ResultKind.DECIDED: _("Decided"),
    }
    places = list(headings)
    ordered = sorted(results, key=lambda result: places.index(result.kind))
    return [(headings[kind], list(same)) for kind, same in groupby(ordered, lambda r: r.kind)]


def totals(selection: Selection) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return how many of the selected requests there are of each action, tenant and risk, the most
    first; risks only where a policy names some."""
    requests = selection.requests
    risks = [rule_of(request).risk_label for request in requests]
    counted: list[tuple[str, list[str]]] = [
        (_("Actions"), [_action(request) for request in requests]),
        (_("Tenants"), [sanitize.marked(request.tenant_id) for request in requests]),
        (_("Risk"), [risk or _("none named") for risk in risks] if any(risks) else []),
    ]
    return [(name, Counter(values).most_common()) for name, values in counted if values]


def _action(request: ApprovalRequest) -> str:
    """Return the action as it is written: two spellings may be the same in words."""
    return sanitize.marked(request.action_type or wording.action(""))


def warnings(selection: Selection, *, is_approval: bool) -> list[str]:
    """Return what is special about some of the selected requests, in sentences."""
    votes = sum(
        is_approval and rule_of(request).min_approvals - request.approvals > 1
        for request in selection.requests
    )
    escalated = sum(request.escalated_at is not None for request in selection.requests)
    texts = [
        (
            votes,
            ngettext(
                "For %(count)d of them, your approval is only a vote: others are needed too.",
                "For %(count)d of them, your approvals are only votes: others are needed too.",
                votes,
            ),
        ),
        (
            escalated,
            ngettext(
                "%(count)d of them has escalated.", "%(count)d of them have escalated.", escalated
            ),
        ),
    ]
    return [text % {"count": count} for count, text in texts if count]


def rows_to_confirm(
    selection: Selection, operator: Operator, *, is_approval: bool
) -> list[dict[str, object]]:
    """Return the template context of each request on the page that asks for confirmation."""
    ends = withholding.expected(selection.requests if is_approval else (), clocks.now())
    votes = Vote.objects.filter(
        request__in=selection.requests, person=person_key(operator.username)
    )
    voted = set(votes.values_list("request_id", flat=True)) if is_approval else set()
    return [
        {
            **rows.row_context(request),
            "vote": _vote(request, has_voted=request.pk in voted) if is_approval else "",
            "item": f"{request.pk}:{selection.digests[request.pk]}",
            "withheld": wording.withheld_before(request, ends[request.pk])
            if request.pk in ends
            else "",
            "has_changed": selection.digests[request.pk]
            not in (rows.shown_digests(request), request.context_digest),
        }
        for request in selection.requests
    ]


def _vote(request: ApprovalRequest, *, has_voted: bool) -> str:
    """Return which of the needed approvals the operator's would be; empty if one is enough."""
    needed = rule_of(request).min_approvals
    if needed == 1 or request.status != Status.PENDING:
        return ""
    if has_voted:
        return _("You have approved; others are needed too.")
    counts = {"number": request.approvals + 1, "needed": needed}
    if counts["number"] >= needed:
        return _("your approval is the last of %(needed)d") % counts
    return _("only a vote: your approval is number %(number)d of %(needed)d") % counts
