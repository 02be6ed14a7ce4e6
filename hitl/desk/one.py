"""One request in full: what it asks, its state, and earlier decisions on the same action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import digest
from hitl.actors import operator_actor, person_key
from hitl.approvals.permissions import why_not_approve, why_not_reject
from hitl.audit import compare_requests, decision_record, recorded_requests
from hitl.audit.request_digest import request_digest
from hitl.delivery import outbox, withholding
from hitl.desk import aftermath, earlier, wording
from hitl.desk import inbox as inboxes
from hitl.desk.filters import Filter
from hitl.models import ApprovalRequest, OutboxEntry, RejectionReason, Vote
from hitl.policies.rules import rule_of
from hitl.states import DeliveryOutcome, Status
from hitl.text import json_html, redact, sanitize


@dataclass(frozen=True, slots=True)
class RequestReading:
    """A request and what the database says of it, for whoever looks at it."""

    request: ApprovalRequest
    entry: OutboxEntry | None
    votes: list[Vote]
    # What was said with the votes, by the voters' keys.
    comments: dict[str, str]
    is_recorded: bool
    # Until when an approval that is given now would be withheld.
    withheld_until: datetime | None


def read(request: ApprovalRequest) -> RequestReading:
    """Read what belongs to a request, with its policy."""
    entry = outbox.entry_of(request.request_id)
    votes = list(request.votes.all())
    return RequestReading(
        request,
        entry,
        votes,
        recorded_requests.vote_comments(request) if votes else {},
        is_recorded=not decision_record.unrecorded([request]),
        withheld_until=withholding.expected([request], clocks.now()).get(request.pk),
    )


def state_context(request: ApprovalRequest, operator: Operator) -> dict[str, Any]:
    """Read what `context_of` returns."""
    return context_of(read(request), operator)


def context_of(reading: RequestReading, operator: Operator) -> dict[str, Any]:
    """Return the context of `hitl/state.html`, `hitl/in_force.html` and `hitl/decide_facts.html`,
    and which buttons the operator gets."""
    request, entry, votes = reading.request, reading.entry, reading.votes
    actor = operator_actor(
        operator.username, request.tenant_id, operator.roles.get(request.tenant_id, "")
    )
    is_pending = request.status == Status.PENDING
    rule = rule_of(request)
    has_voted = any(vote.person == person_key(operator.username) for vote in votes)
    refusal = why_not_approve(actor, request)
    missing = max(0, rule.min_approvals - request.approvals)
    is_recorded = reading.is_recorded
    return {
        "request": request,
        "is_pending": is_pending,
        "status": request.get_status_display(),
        "decided_by": sanitize.marked(request.decided_by),
        "reason": sanitize.marked(request.reason, is_multiline=True) if request.reason else "",
        "comment": sanitize.marked(request.comment, is_multiline=True) if request.comment else "",
        "votes": _votes(votes, reading.comments),
        "missing": ngettext(
            "%(count)d more approval is needed.", "%(count)d more approvals are needed.", missing
        )
        % {"count": missing}
        if is_pending and rule.min_approvals > 1
        else "",
        "has_voted": has_voted,
        "rule": rule,
        "rule_words": wording.rule_in_force(request),
        "action": wording.marked_action(request.action_type),
        "action_plain": wording.action(request.action_type),
        "tenant": sanitize.marked(request.tenant_id),
        "tenant_plain": sanitize.plain(request.tenant_id),
        "may_approve": is_pending and refusal is None and not has_voted,
        "may_reject": is_pending and why_not_reject(actor, request) is None,
        "warning": _warning(entry, is_recorded=is_recorded),
        "withheld": wording.withheld_before(request, reading.withheld_until)
        if reading.withheld_until
        else "",
        # What nobody decided is told to nobody: the warning says it.
        "aftermath": aftermath.of(request, entry) if is_recorded else None,
        "why_not": str(refusal.message) if is_pending and refusal is not None else "",
        "expires": int(request.expires_at.timestamp() * 1000),
        "created": int(request.created_at.timestamp() * 1000),
    }


def _votes(votes: list[Vote], comments: dict[str, str]) -> list[tuple[Any, Vote, Any]]:
    """Return who voted, the vote, and what they said with it."""
    return [
        (
            sanitize.marked(vote.user_id),
            vote,
            sanitize.marked(comments[vote.person], is_multiline=True)
            if vote.person in comments
            else "",
        )
        for vote in votes
    ]


def _warning(entry: OutboxEntry | None, *, is_recorded: bool) -> str:
    """Return a warning of a decision that nobody made, or an empty text."""
    if not is_recorded:
        return _(
            "The audit does not have this decision: somebody changed the database. No agent is "
            "told of it."
        )
    if entry is not None and entry.outcome == DeliveryOutcome.REFUSED:
        return _(
            "A signal for this request was refused: the audit does not have that decision. "
            "Somebody changed the database."
        )
    return ""


def page_context(
    request: ApprovalRequest, operator: Operator, chosen: Filter | None = None
) -> dict[str, Any]:
    """Return the context of the request's page, `hitl/request.html`: one of those that the filter
    lists."""
    context = request.context
    masked = redact.masked(context)
    chosen = chosen or Filter()
    before, after = inboxes.neighbours(operator, request, chosen)
    return {
        **state_context(request, operator),
        "now": f"{clocks.now().timestamp():.3f}",
        "headline": wording.headline(request),
        "action_type": sanitize.marked(request.action_type),
        "spelling": wording.spelling(request),
        # A short message of one line is all in the headline.
        "message": "" if wording.is_headline(request.message) else json_html.html(request.message),
        "context": json_html.html_of_masked(masked),
        "shown_digest": digest(context),
        "request_digest": request_digest(request, context_digest=digest(context)),
        "stored_message": json_html.exact_text(request.message),
        "stored": json_html.exact(masked, request.context_text),
        "raw": json_html.pretty(masked),
        "facts": _facts(request),
        "presets": RejectionReason.objects.filter(tenant_id=request.tenant_id),
        "differences": [
            sanitize.marked(str(difference))
            for difference in compare_requests.compare_request(request)
        ],
        "earlier": earlier.lists(request),
        "previous": before,
        "next": after,
        "inbox_query": chosen.link_query,
        "view_query": chosen.view_query,
        "timeline_url": _timeline_url(request),
    }


def next_to_decide(operator: Operator, pk: int, chosen: Filter | None = None) -> int | None:
    """Return the key of the first other request that the filter lists and that is the operator's
    to decide, or None."""
    of_mine = replace(chosen or Filter(), is_mine=True)
    keys = (abs(place[-1]) for place in inboxes.in_order(operator, of_mine, clocks.now()))
    return next((key for key in keys if key != pk), None)


def _facts(request: ApprovalRequest) -> list[tuple[str, Any]]:
    facts = [
        (_("Asked by"), request.user_id),
        (_("Tenant"), request.tenant_id),
        (_("Action type"), request.action_type),
        (_("Session"), request.session_id),
        (_("Agent"), request.agent_id),
        (_("Request id"), request.request_id),
    ]
    marked: list[tuple[str, Any]] = [(name, sanitize.marked(text)) for name, text in facts if text]
    return [*marked, (_("Came by"), request.get_origin_display())]


def _timeline_url(request: ApprovalRequest) -> str:
    # Served by `streaming`, which hitl may not import. It answers 204 for a session of an agent
    # outside this server, and the page then says so.
    session = quote(request.session_id, safe="")
    return f"{reverse('admin:index')}streaming/session/{session}/timeline/"
