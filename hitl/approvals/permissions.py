"""Who may decide, withdraw and see an approval request.

Policies say what a request asks (`hitl.policies.rules`), memberships and tokens say which role
somebody has; what a role allows on a request is said here alone. Who may change policies and
who may read the audit is said in `hitl.policies.changes` and `hitl.audit.access`.
"""

from __future__ import annotations

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import Operator
from dwp_project.gateway.roles import Role
from hitl import errors
from hitl.actors import Actor, person_key
from hitl.models import ApprovalRequest, ApprovalRequestQuerySet
from hitl.policies.rules import Rule, rule_of
from hitl.states import ActorKind

# The roles that decide on every request of their tenant.
DECIDERS = frozenset({Role.APPROVER.value, Role.ADMIN.value})
# The roles that satisfy each `required_role` of a policy: an admin may do what an approver may.
_HOLDERS: dict[str, frozenset[str]] = {
    Role.APPROVER.value: DECIDERS,
    Role.ADMIN.value: frozenset({Role.ADMIN.value}),
}


def decides_in(operator: Operator) -> list[str]:
    """Return the ids of the tenants in which the operator is a decider, sorted."""
    return sorted(tenant for tenant, role in operator.roles.items() if role in DECIDERS)


def roles_for(required_role: str) -> frozenset[str]:
    """Return the roles that satisfy a policy's required role; deciders if it is empty."""
    return _HOLDERS[required_role] if required_role else DECIDERS


def may_decide_for(actor: Actor, requester_id: str) -> bool:
    """Say whether the actor may decide what `requester_id` asks in the actor's tenant.

    Deciders may, whoever asks, and so may the requester (wire.md, 3.2), but not as an operator:
    on the pages a decision takes a role. Ending a session of `requester_id` follows this rule too.
    """
    if actor.role in DECIDERS:
        return True
    return actor.kind is ActorKind.USER and actor.id == requester_id


def why_not_approve(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return why the actor may not approve the request, or None if they may (wire.md, 3.2, 3.6).

    `MayNotDecide` comes before what the policy wants: `RoleRequired` and
    `RequesterMayNotApprove`. The request is of the actor's tenant.
    """
    rule = rule_of(request)
    if refusal := _role_refusal(actor, request, rule):
        return refusal
    if rule.forbid_requester and person_key(actor.id) == person_key(request.user_id):
        return errors.RequesterMayNotApprove()
    return None


def why_not_reject(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return why the actor may not reject the request, or None if they may (wire.md, 3.2, 3.6).

    `MayNotDecide` or `RoleRequired`. The requester may always reject: that only ends what they
    asked for themselves. The request is of the actor's tenant.
    """
    if why_not_cancel(actor, request) is None and actor.id == request.user_id:
        return None
    return _role_refusal(actor, request, rule_of(request))


def why_not_cancel(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    """Return `MayNotDecide` if the actor may not withdraw the request, or None if they may.

    A withdrawal is not a decision, so policies do not matter here (wire.md, 3.5). The request is
    of the actor's tenant.
    """
    return None if may_decide_for(actor, request.user_id) else errors.MayNotDecide()


def may_see(tenant_id: str, request: ApprovalRequest) -> bool:
    """Say whether members of the tenant see the request: all do, in any role (wire.md, 3.3)."""
    return request.tenant_id == tenant_id


def visible_in(tenant_id: str) -> ApprovalRequestQuerySet:
    """Return the requests that members of the tenant see, as `may_see` says."""
    return ApprovalRequest.objects.filter(tenant_id=tenant_id)


def visible_to(operator: Operator) -> ApprovalRequestQuerySet:
    """Return the requests that the operator sees: those of every tenant they are a member of."""
    return ApprovalRequest.objects.filter(tenant_id__in=operator.tenants)


def may_see_signal(actor: Actor, request: ApprovalRequest) -> bool:
    """Say whether the actor may read the signal that decided the request (wire.md, 3.4).

    The requester and the deciders of the tenant may. A session's key in Redis names no tenant,
    so the request that the signal names is what says whose it is.
    """
    return may_see(actor.tenant_id, request) and may_decide_for(actor, request.user_id)


def _role_refusal(actor: Actor, request: ApprovalRequest, rule: Rule) -> DwpError | None:
    # Somebody who decides nothing in this tenant learns that first, whatever the policy wants.
    if refusal := why_not_cancel(actor, request):
        return refusal
    if not rule.required_role or actor.role in _HOLDERS[rule.required_role]:
        return None
    return errors.RoleRequired(rule.required_role)
