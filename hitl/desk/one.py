"""One request in full: what it asks, its state, and earlier decisions on the same action."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact, digest
from hitl.actors import operator_actor, person_key
from hitl.approvals.permissions import why_not_approve, why_not_reject
from hitl.audit import compare_requests, decision_record
from hitl.audit.request_digest import request_digest
from hitl.delivery import outbox, withholding
from hitl.desk import inbox as inboxes
from hitl.desk import wording
from hitl.models import ApprovalRequest, OutboxEntry, RejectionReason
from hitl.policies.rules import rule_of
from hitl.states import DeliveryOutcome, Status
from hitl.text import json_html, redact, sanitize

# Chosen: fits beside the request without scrolling.
MAX_EARLIER = 10


def state_context(request: ApprovalRequest, operator: Operator) -> dict[str, Any]:
    """Return the context of `hitl/state.html`, and which buttons the operator gets."""
    actor = operator_actor(
        operator.username, request.tenant_id, operator.roles.get(request.tenant_id, "")
    )
    is_pending = request.status == Status.PENDING
    rule = rule_of(request)
    entry = outbox.entry_of(request.request_id)
    votes = list(request.votes.all())
    has_voted = any(vote.person == person_key(operator.username) for vote in votes)
    refusal = why_not_approve(actor, request)
    missing = max(0, rule.min_approvals - request.approvals)
    return {
        "request": request,
        "is_pending": is_pending,
        "status": request.get_status_display(),
        "decided_by": sanitize.marked(request.decided_by),
        "reason": sanitize.marked(request.reason, is_multiline=True) if request.reason else "",
        "comment": sanitize.marked(request.comment, is_multiline=True) if request.comment else "",
        "votes": [(sanitize.marked(vote.user_id), vote) for vote in votes],
        "missing": ngettext(
            "%(count)d more approval is needed.", "%(count)d more approvals are needed.", missing
        )
        % {"count": missing}
        if is_pending and rule.min_approvals > 1
        else "",
        "has_voted": has_voted,
        "rule": rule,
        "may_approve": is_pending and refusal is None and not has_voted,
        "may_reject": is_pending and why_not_reject(actor, request) is None,
        "warning": _warning(request, entry),
        "withheld": _withheld(request, entry),
        "why_not": str(refusal.message) if is_pending and refusal is not None else "",
        "expires": int(request.expires_at.timestamp() * 1000),
        "created": int(request.created_at.timestamp() * 1000),
    }


def _withheld(request: ApprovalRequest, entry: OutboxEntry | None) -> str:
    """Return that another agent could take an approval for its own, before or after it is given;
    an empty text where none could."""
    if entry is not None:
        return wording.withheld_after(entry)
    until = withholding.expected([request], clocks.now()).get(request.pk)
    return wording.withheld_before(request, until) if until else ""


def _warning(request: ApprovalRequest, entry: OutboxEntry | None) -> str:
    """Return a warning of a decision that nobody made, or an empty text."""
    if decision_record.unrecorded([request]):
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


def page_context(request: ApprovalRequest, operator: Operator) -> dict[str, Any]:
    """Return the context of the request's page, `hitl/request.html`."""
    context = request.context
    before, after = inboxes.neighbours(inboxes.read(operator), request.pk)
    return {
        **state_context(request, operator),
        "now": f"{clocks.now().timestamp():.3f}",
        "headline": wording.headline(request),
        "action": wording.action(request.action_type),
        "action_type": sanitize.marked(request.action_type),
        "spelling": wording.spelling(request),
        # A short message of one line is all in the headline.
        "message": "" if wording.is_headline(request.message) else json_html.html(request.message),
        "context": json_html.html(context),
        "shown_digest": digest(context),
        "request_digest": request_digest(request, context_digest=digest(context)),
        "stored": sanitize.exact(_stored_context(request, context)),
        "raw": sanitize.pretty(redact.spelled_out(redact.masked(context))),
        "facts": _facts(request),
        "rule_words": wording.rule(rule_of(request)),
        "presets": RejectionReason.objects.filter(tenant_id=request.tenant_id),
        "differences": [
            sanitize.marked(str(difference))
            for difference in compare_requests.compare_request(request)
        ],
        "earlier": _earlier(request),
        "previous": before,
        "next": after,
        "timeline_url": _timeline_url(request),
    }


def _stored_context(request: ApprovalRequest, context: Any) -> str:
    """Return the stored text of the context, with labels in place of secrets."""
    masked = redact.masked(context)
    return request.context_text if masked == context else compact(redact.spelled_out(masked))


def next_to_decide(operator: Operator, pk: int) -> int | None:
    """Return the key of the most urgent other request that the operator may decide, or None."""
    for request in inboxes.read(operator).for_me():
        actor = operator_actor(
            operator.username, request.tenant_id, operator.roles.get(request.tenant_id, "")
        )
        refusals = (why_not_approve(actor, request), why_not_reject(actor, request))
        if request.pk != pk and None in refusals:
            return request.pk
    return None


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


def _earlier(request: ApprovalRequest) -> list[dict[str, Any]]:
    """Return the newest decided, expired or cancelled requests of the same action and tenant."""
    same = ApprovalRequest.objects.filter(
        tenant_id=request.tenant_id, action_type=request.action_type
    )
    # Read the newest keys of each status first, because an index alone has them. For whole rows,
    # or for every status but pending, a planner may scan every younger row.
    newest = [
        pk
        for status in Status
        if status is not Status.PENDING
        for pk in _newest_keys(same.filter(status=status).exclude(pk=request.pk))
    ]
    ended = ApprovalRequest.objects.in_bulk(sorted(newest, reverse=True)[:MAX_EARLIER])
    return [
        {
            "request": row,
            "headline": wording.headline(row),
            "decided_by": sanitize.marked(row.decided_by),
            "reason": sanitize.marked(row.reason) if row.reason else "",
        }
        for _pk, row in sorted(ended.items(), reverse=True)
    ]


def _newest_keys(requests: QuerySet[ApprovalRequest]) -> list[int]:
    return list(requests.order_by("-id").values_list("pk", flat=True)[:MAX_EARLIER])


def _timeline_url(request: ApprovalRequest) -> str:
    # Served by `streaming`, which hitl may not import. It answers 204 for a session of an agent
    # outside this server, and the page then says so.
    session = quote(request.session_id, safe="")
    return f"{reverse('admin:index')}streaming/session/{session}/timeline/"
