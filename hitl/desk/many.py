"""Many requests decided at once: the selection, the number to type, and a result for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project import clocks
from dwp_project.gateway.errors import DwpError
from hitl.actors import Actor
from hitl.delivery import withholding
from hitl.desk import decisions, rows, wording
from hitl.desk.decisions import DecisionResult
from hitl.desk.inbox import MAX_ROWS
from hitl.models import ApprovalRequest
from hitl.policies.rules import rule_of

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
    request: HttpRequest, selection: Selection, *, is_approval: bool, reason: str = ""
) -> list[DecisionResult]:
    """Decide each request in a transaction of its own, and return a result for each, also for those
    that are decided alone."""
    results = []
    for approval_request in selection.requests:
        digest, _point, request_digest = selection.digests[approval_request.pk].partition(".")
        decision = (
            decisions.approval(digest, request_digest or None)
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
    """Return a sentence with how many requests were decided and how many were not."""
    done = sum(result.is_done for result in results)
    left = len(results) - done
    text = ngettext("%(count)d request decided.", "%(count)d requests decided.", done)
    sentence = text % {"count": done}
    if left:
        rest = ngettext("%(count)d was not.", "%(count)d were not.", left) % {"count": left}
        sentence = f"{sentence} {rest}"
    return sentence


def rows_to_confirm(selection: Selection, *, is_approval: bool) -> list[dict[str, object]]:
    """Return the template context of each request on the page that asks for confirmation."""
    ends = withholding.expected(selection.requests if is_approval else (), clocks.now())
    return [
        {
            **rows.row_context(request),
            "item": f"{request.pk}:{selection.digests[request.pk]}",
            "withheld": wording.withheld_before(request, ends[request.pk])
            if request.pk in ends
            else "",
            "has_changed": selection.digests[request.pk]
            not in (rows.shown_digests(request), request.context_digest),
        }
        for request in selection.requests
    ]
