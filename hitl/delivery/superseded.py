"""Says what it means that a session's key names another request than a signal's."""

from __future__ import annotations

from dwp_project.deployment import identity
from hitl.delivery import commands, redis_state, withholding
from hitl.delivery.wire import milliseconds
from hitl.models import ApprovalRequest, OutboxEntry, is_id
from hitl.states import DeliveryOutcome, Origin


def outcome_of(entry: OutboxEntry, named: str) -> DeliveryOutcome:
    """Return what it means that the session's key names another request than this one.

    If the database knows that one as older, or has lost it, its session has not heard of this one
    yet. An agent on Redis is about to write it; a request opened here that Redis missed is
    announced now, unless the key has changed meanwhile. Either way the signal is sent again.
    """
    request = entry.request
    older = ApprovalRequest.objects.filter(session_id=request.session_id).exclude(pk=request.pk)
    # Only possible ids are looked up: PostgreSQL refuses a NUL.
    if not is_id(named) or not (
        older.filter(request_id=named).exists() or _is_lost(named, request)
    ):
        return withholding.final_outcome(entry, DeliveryOutcome.SUPERSEDED)
    if request.origin != Origin.REDIS:
        commands.announce(request, instead_of=named)
    return DeliveryOutcome.PENDING


def _is_lost(named: str, request: ApprovalRequest) -> bool:
    """Say whether a deployment opened the request `named`, which the database does not know, for
    the person and in the session of `request` before that: the database was restored."""
    if request.origin == Origin.REDIS:
        return False
    lost = redis_state.marked_request(request.session_id)
    return (
        lost is not None
        and (lost.request_id, lost.tenant_id, lost.user_id)
        == (named, request.tenant_id, request.user_id)
        and (
            lost.deployment_id == identity.current()
            or lost.created_at < milliseconds(request.created_at)
        )
        and not ApprovalRequest.objects.filter(request_id=named).exists()
    )
