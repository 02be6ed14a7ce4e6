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

MOST_AT_ONCE = 200


class TooMany(DwpError):
    """More are selected than are decided at once."""

    def __init__(self, count: int) -> None:
        text = _(
            "%(count)d requests are selected; at most %(most)d are decided at once. "
            "Nothing was changed."
        )
        super().__init__(text % {"count": count, "most": MOST_AT_ONCE})


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


def selected(items: Iterable[str], seen: QuerySet[ApprovalRequest]) -> Selection:
    """Return what a form's items name among the requests that the operator sees.

    Raises `TooMany` or `NothingSelected`.
    """
    digests = _digests(items)
    found = seen.filter(pk__in=digests).select_related("policy").order_by("expires_at", "pk")
    if not (requests := list(found)):
        raise NothingSelected
    return Selection(requests, digests)


def unseen(items: Iterable[str], seen: QuerySet[ApprovalRequest]) -> set[int]:
    """Return the keys that a form names and the operator does not see; raises `TooMany`."""
    named = set(_digests(items))
    return named - set(seen.filter(pk__in=named).values_list("pk", flat=True))


def _digests(items: Iterable[str]) -> dict[int, str]:
    digests: dict[int, str] = {}
    for item in items:
        key, _colon, digest = item.partition(":")
        if key.isascii() and key.isdigit() and len(key) < 19:
            digests[int(key)] = digest[:64]
    if len(digests) > MOST_AT_ONCE:
        raise TooMany(len(digests))
    return digests


def chosen(requests: QuerySet[ApprovalRequest]) -> Selection:
    """Return a selection of the archive's list: what the next page shows is what is decided on.

    Raises `TooMany` or `NothingSelected`.
    """
    found = list(requests.select_related("policy").order_by("expires_at", "pk")[: MOST_AT_ONCE + 1])
    if len(found) > MOST_AT_ONCE:
        raise TooMany(len(found))
    if not found:
        raise NothingSelected
    return Selection(found, {request.pk: request.context_digest for request in found})


def must_type(selection: Selection) -> str:
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
    for found in selection.requests:
        digest = selection.digests[found.pk]
        decision = (
            decisions.approving(digest) if is_approval else decisions.rejecting(digest, reason)
        )
        results.append(decisions.attempt(request, found, decision))
    return results


def summary(results: list[DecisionResult]) -> str:
    """Return how many were decided, and how many not."""
    done = sum(result.is_done for result in results)
    left = len(results) - done
    text = ngettext("%(count)d request decided.", "%(count)d requests decided.", done)
    told = text % {"count": done}
    if left:
        rest = ngettext("%(count)d was not.", "%(count)d were not.", left) % {"count": left}
        told = f"{told} {rest}"
    return told


def listed(selection: Selection) -> list[dict[str, object]]:
    """Return what the page of the question shows of each."""
    return [
        {
            **rows.described(found),
            "item": f"{found.pk}:{selection.digests[found.pk]}",
            "has_changed": selection.digests[found.pk] != found.context_digest,
        }
        for found in selection.requests
    ]
