"""Who may decide, withdraw and see an approval request."""

from __future__ import annotations

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import Operator
from dwp_project.gateway.roles import Role
from hitl import errors
from hitl.actors import Actor, person_key
from hitl.models import ApprovalRequest
from hitl.policies.rules import Rule, rule_of
from hitl.states import ActorKind

# Who may decide on any request of the tenant; a requester may decide on their own.
DECIDERS = frozenset({Role.APPROVER.value, Role.ADMIN.value})
# What each required role is held by.
_HOLDERS: dict[str, frozenset[str]] = {
    Role.APPROVER.value: DECIDERS,
    Role.ADMIN.value: frozenset({Role.ADMIN.value}),
}


def decides_in(operator: Operator) -> list[str]:
    """Return the tenants in which this operator may decide, sorted."""
    return sorted(tenant for tenant, role in operator.roles.items() if role in DECIDERS)


def may_decide_for(actor: Actor, requester_id: str) -> bool:
    """Say whether this actor may decide what `requester_id` asked (wire.md, 3.2)."""
    if actor.role in DECIDERS:
        return True
    return actor.kind is ActorKind.USER and actor.id == requester_id


def why_not_approve(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return why `actor` may not approve `request`, or None if they may."""
    rule = rule_of(request)
    if refused := _role_refusal(actor, request, rule):
        return refused
    if rule.forbid_requester and person_key(actor.id) == person_key(request.user_id):
        return errors.RequesterMayNotApprove()
    return None


def why_not_reject(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return why `actor` may not reject `request`, or None if they may.

    Who asked may always say no: that only ends what they asked for themselves.
    """
    if why_not_cancel(actor, request) is None and actor.id == request.user_id:
        return None
    return _role_refusal(actor, request, rule_of(request))


def why_not_cancel(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return why `actor` may not withdraw `request`, or None if they may.

    To withdraw is no decision: policies say nothing about it (docs/reference/wire.md, 3.5).
    """
    return None if may_decide_for(actor, request.user_id) else errors.MayNotDecide()


def _role_refusal(actor: Actor, request: ApprovalRequest, rule: Rule) -> DwpError | None:
    # Who decides nothing in this tenant hears that first, whatever the policy wants.
    if refused := why_not_cancel(actor, request):
        return refused
    if not rule.required_role or actor.role in _HOLDERS[rule.required_role]:
        return None
    return errors.RoleRequired(rule.required_role)
