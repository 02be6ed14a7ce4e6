"""Shortages: a policy wants more people than its tenant has.

Nothing is refused for it: another issuer's tokens may carry roles that no membership says, and
members come and go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dwp_project.gateway.models import Membership
from hitl.actors import person_key
from hitl.approvals.permissions import roles_for
from hitl.policies.rules import Rule
from hitl.states import OnTimeout


@dataclass(frozen=True, slots=True)
class Shortage:
    """Too few members can approve what a policy applies to."""

    tenant_id: str
    # The role that approving takes; empty for approvers and admins.
    role: str
    # How many of them are needed, without whoever asks if `is_besides_requester`.
    needed: int
    has: int
    is_besides_requester: bool
    # Only what one of them asks has too few; what somebody else asks can be approved.
    is_of_their_own: bool = False
    # Only once it has escalated, and if nobody had approved before.
    is_escalated: bool = False


def of_rule(tenant_id: str, rule: Rule) -> list[Shortage]:
    """Return why nobody, or not everybody, could get an approval under this rule of the tenant's.

    Counts the memberships of active accounts; two of one person are one (wire.md, 3.6).
    """
    # Without a required role, whoever asks is one of those who approve, in whatever role.
    does_asker_count = not (rule.required_role or rule.forbid_requester)
    is_besides = does_asker_count or rule.forbid_requester
    needed = rule.min_approvals - 1 if does_asker_count else rule.min_approvals
    has = _count_people(tenant_id, rule.required_role)
    first = Shortage(tenant_id, rule.required_role, needed, has, is_besides)
    if has < needed:
        return [first]
    shortages = []
    # One of those who are counted cannot be counted again as whoever asks.
    if is_besides and has == needed > 0:
        shortages.append(replace(first, is_of_their_own=True))
    if rule.on_timeout == OnTimeout.ESCALATE:
        has = _count_people(tenant_id, rule.escalate_to_role)
        escalated = Shortage(
            tenant_id, rule.escalate_to_role, rule.min_approvals, has, rule.forbid_requester
        )
        if has < escalated.needed:
            shortages.append(replace(escalated, is_escalated=True))
    return shortages


def _count_people(tenant_id: str, required_role: str) -> int:
    memberships = Membership.objects.filter(
        tenant_id=tenant_id, role__in=roles_for(required_role), user__is_active=True
    )
    return len({person_key(name) for name in memberships.values_list("user__username", flat=True)})
