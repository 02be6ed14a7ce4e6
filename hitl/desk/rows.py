"""A request as a row of a list: the inbox's rows as HTML, the same for its page and its stream."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from dwp_project.gateway.operators import Operator
from hitl.approvals.permissions import decides_in
from hitl.audit.request_digest import request_digest
from hitl.desk import filters, wording
from hitl.desk.inbox import Inbox
from hitl.models import ApprovalRequest
from hitl.policies.rules import rule_of
from hitl.text import sanitize


def render(inbox: Inbox, operator: Operator, view_query: str = "") -> dict[int, str]:
    """Return the HTML of each row by the request's key, in the inbox's order.

    The links end with `view_query`; desk/inbox.js adds that to a row from the stream.
    """
    return {
        request.pk: html(
            request,
            view_query=view_query,
            **variant(request, operator, has_voted=request.pk in inbox.voted),
        )
        for request in inbox.requests
    }


def variant(request: ApprovalRequest, operator: Operator, *, has_voted: bool) -> dict[str, bool]:
    """Return what makes the row of a request look otherwise to one operator than to another."""
    return {
        "has_voted": has_voted,
        "may_decide": filters.may_decide(request, operator),
        "is_decider": request.tenant_id in decides_in(operator),
        "is_many": len(operator.roles) > 1,
    }


def html(
    request: ApprovalRequest,
    *,
    has_voted: bool,
    may_decide: bool,
    is_decider: bool,
    is_many: bool,
    view_query: str = "",
) -> SafeString:
    """Return the row of a request, with its policy, in this variant."""
    return render_to_string(
        "hitl/row.html",
        {
            **row_context(request),
            "has_voted": has_voted,
            "may_decide": may_decide,
            "is_mine": may_decide and not has_voted,
            # Why a decider of the tenant has no tick box.
            "takes_role": wording.takes_role(request) if is_decider and not may_decide else "",
            "is_many": is_many,
            "view_query": view_query,
        },
    )


def row_context(request: ApprovalRequest) -> dict[str, Any]:
    """Return the template context of one request in a list."""
    return {
        "request": request,
        "item": form_item(request),
        "headline": wording.headline(request),
        "action": wording.marked_action(request.action_type),
        "spelling": wording.spelling(request),
        "parameters": wording.parameters(request.context),
        "asker": sanitize.marked(request.user_id),
        "tenant": sanitize.marked(request.tenant_id),
        "rule": rule_of(request),
        "votes": wording.votes(request),
        "expires": int(request.expires_at.timestamp() * 1000),
        "created": int(request.created_at.timestamp() * 1000),
    }


def form_item(request: ApprovalRequest) -> str:
    """Return the item of a form that selects this request: its key and its digests."""
    return f"{request.pk}:{shown_digests(request)}"


def shown_digests(request: ApprovalRequest) -> str:
    """Return the digest of the context and that of all that is shown, with a point between."""
    digest = request.context_digest
    return f"{digest}.{request_digest(request, context_digest=digest)}"
