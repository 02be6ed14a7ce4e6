"""Many requests at once: what was selected, what must be typed, and one result for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.gateway.errors import DwpError
from hitl.desk import decisions, rows
from hitl.desk.decisions import DecisionResult
from hitl.models import ApprovalRequest

MAX_SELECTED = 200


class TooMany(DwpError):
    """More are selected than are decided at once."""

    def __init__(self, count: int) -> None:
        text = _(
            "%(count)d requests are selected; at most %(most)d are decided at once. "
            "Nothing was changed."
        )
        super().__init__(text % {"count": count, "most": MAX_SELECTED})


class NothingSelected(DwpError):
    """No request that this operator may see is selected."""

    def __init__(self) -> None:
        super().__init__(_("No request is selected. Nothing was changed."))


@dataclass(frozen=True, slots=True)
class Selection:
    """The requests that an operator selected, each with the digest of what was shown."""

    requests: list[ApprovalRequest]
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def items(self) -> list[str]:
        """Return what a form carries of them."""
        return [f"{request.pk}:{self.digests[request.pk]}" for request in self.requests]


def selection_from_form(items: Iterable[str], visible: QuerySet[ApprovalRequest]) -> Selection:
    """Return what a form's items name among the requests that the operator sees.

    Raises `TooMany` or `NothingSelected`.
    """
    digests = _parse_items(items)
    selected = visible.filter(pk__in=digests).select_related("policy").order_by("expires_at", "pk")
    if not (requests := list(selected)):
        raise NothingSelected
    return Selection(requests, digests)


def keys_out_of_sight(items: Iterable[str], visible: QuerySet[ApprovalRequest]) -> set[int]:
    """Return the keys that a form names and the operator does not see; raises `TooMany`."""
    named = set(_parse_items(items))
    return named - set(visible.filter(pk__in=named).values_list("pk", flat=True))


def _parse_items(items: Iterable[str]) -> dict[int, str]:
    digests: dict[int, str] = {}
    for item in items:
        key, _colon, digest = item.partition(":")
        if key.isascii() and key.isdigit() and len(key) < 19:
            digests[int(key)] = digest[:64]
    if len(digests) > MAX_SELECTED:
        raise TooMany(len(digests))
    return digests


def selection_from_archive(queryset: QuerySet[ApprovalRequest]) -> Selection:
    """Return a selection of the archive's list: what the next page shows is what is decided on.

    Raises `TooMany` or `NothingSelected`.
    """
    requests = list(
        queryset.select_related("policy").order_by("expires_at", "pk")[: MAX_SELECTED + 1]
    )
    if len(requests) > MAX_SELECTED:
        raise TooMany(len(requests))
    if not requests:
        raise NothingSelected
    return Selection(requests, {request.pk: request.context_digest for request in requests})


def number_to_type(selection: Selection) -> str:
    """Return what an operator types before so many are approved: their number."""
    return str(len(selection.requests))


def question(selection: Selection, *, is_approval: bool) -> str:
    """Return what the operator is asked before it is done."""
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
    """Decide each by itself, in its own transaction; return what came of each."""
    results = []
    for approval_request in selection.requests:
        digest = selection.digests[approval_request.pk]
        decision = (
            decisions.approval(digest) if is_approval else decisions.rejection(digest, reason)
        )
        results.append(decisions.decide(request, approval_request, decision))
    return results


def summary(results: list[DecisionResult]) -> str:
    """Return how many were decided, and how many not."""
    done = sum(result.is_done for result in results)
    left = len(results) - done
    text = ngettext("%(count)d request decided.", "%(count)d requests decided.", done)
    sentence = text % {"count": done}
    if left:
        rest = ngettext("%(count)d was not.", "%(count)d were not.", left) % {"count": left}
        sentence = f"{sentence} {rest}"
    return sentence


def rows_to_confirm(selection: Selection) -> list[dict[str, object]]:
    """Return what the page of the question shows of each."""
    return [
        {
            **rows.row_context(request),
            "item": f"{request.pk}:{selection.digests[request.pk]}",
            "has_changed": selection.digests[request.pk] != request.context_digest,
        }
        for request in selection.requests
    ]
