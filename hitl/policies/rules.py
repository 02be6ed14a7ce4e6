"""Which policy applies to an action, and what it asks of a request (wire.md, 3.6).

`hitl.policies.changes` writes policies, `hitl.approvals.permissions` says who satisfies them.
Requests point at the version they were opened under.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from dwp_project import exchange
from dwp_project.exchange import Rows, Statement
from hitl.models import ApprovalRequest, Policy
from hitl.policies import patterns
from hitl.states import DECIDED_ALONE, OnTimeout, Risk

# As SQL, because each opening asks it, and to build it takes longer than to answer it.
_CURRENT = f"""
    SELECT {exchange.columns(Policy)} FROM hitl_policy
     WHERE tenant_id = %s AND is_current AND NOT is_retired"""  # noqa: S608 - names of columns


@dataclass(frozen=True, slots=True)
class Rule:
    """What a policy asks; the defaults are what applies without a policy. Times are in seconds."""

    min_approvals: int = 1
    forbid_requester: bool = False
    # Empty: the requester, an approver or an admin.
    required_role: str = ""
    # None: as the question says, or else the deployment's default.
    timeout_seconds: int | None = None
    on_timeout: str = OnTimeout.EXPIRE.value
    escalate_to_role: str = ""
    escalate_seconds: int | None = None
    reason_required: bool = False
    # One of `Risk`; empty: none.
    risk: str = ""
    # The policy and its version in words; empty without a policy.
    version: str = ""

    @property
    def is_decided_alone(self) -> bool:
        """Say whether such a request is decided on its own page, and never with others."""
        return self.risk in DECIDED_ALONE

    @property
    def risk_label(self) -> str:
        """Return the risk in words, or an empty text."""
        return str(Risk(self.risk).label) if self.risk in Risk.values else ""


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """A policy whose pattern matches an action, whether it applies, and why or why not."""

    policy: Policy
    applies: bool
    why: str
    # The action as the pattern reads it: itself, or with others in place of look-alikes.
    read_as: str


def applying(tenant_id: str, action_type: str) -> Policy | None:
    """Return the current version of the policy that applies to an action in a tenant, if any."""
    return applying_to_each(tenant_id, [action_type])[action_type]


def applying_to_each(tenant_id: str, action_types: Collection[str]) -> dict[str, Policy | None]:
    """Return the policy that applies to each action, if any; one query for all."""
    current = _current(tenant_id)
    return {action: next(iter(_matching(current, action)), None) for action in action_types}


def current_statement(tenant_id: str) -> Statement:
    """Return the statement that reads a tenant's policies; its rows are for `applying_of`."""
    return Statement(_CURRENT, [tenant_id])


def applying_of(rows: Rows, action_type: str) -> Policy | None:
    """Return the policy that applies to an action, of those that `current_statement` has read."""
    current = [exchange.one(Policy, row) for row in rows]
    return next(iter(_matching(current, action_type)), None)


def explain(tenant_id: str, action_type: str) -> list[PolicyMatch]:
    """Return every current policy whose pattern matches the action; the first one applies."""
    policies = _matching(_current(tenant_id), action_type)
    return [_match_at(policies, place, action_type) for place in range(len(policies))]


def rule_as_of(policy: Policy | None) -> Rule:
    """Return what this version of a policy asks; without a policy, the default."""
    if policy is None:
        return Rule()
    return Rule(
        min_approvals=policy.min_approvals,
        forbid_requester=policy.forbid_requester,
        required_role=policy.required_role,
        timeout_seconds=policy.timeout_seconds,
        on_timeout=policy.on_timeout,
        escalate_to_role=policy.escalate_to_role,
        escalate_seconds=policy.escalate_seconds,
        reason_required=policy.reason_required,
        risk=policy.risk,
        version=str(policy),
    )


def rule_of(request: ApprovalRequest) -> Rule:
    """Return the rule of a request: that of the version of the policy it was opened under.

    Once it has escalated, the required role is the one it escalated to.
    """
    rule = rule_as_of(request.policy)
    if request.escalated_at is None:
        return rule
    return replace(rule, required_role=rule.escalate_to_role)


def policy_details(request: ApprovalRequest) -> dict[str, Any]:
    """Return the request's policy as audit details: pattern and version, or nothing."""
    if request.policy is None:
        return {}
    return {"policy": {"pattern": request.policy.pattern, "version": request.policy.version}}


def _current(tenant_id: str) -> list[Policy]:
    [current] = exchange.read((Policy, current_statement(tenant_id)))
    return current


def _matching(current: Iterable[Policy], action_type: str) -> list[Policy]:
    policies = [policy for policy in current if patterns.matches(policy.pattern, action_type)]
    return sorted(policies, key=lambda policy: patterns.rank(policy.pattern, action_type))


def _match_at(policies: Sequence[Policy], place: int, action_type: str) -> PolicyMatch:
    policy, first = policies[place], policies[0]
    if len(policies) == 1:
        why = _("no other pattern matches")
    elif place == 0:
        why = _comparison(policies[1], first, action_type)[1]
    else:
        why = _comparison(policy, first, action_type)[0]
    read_as = patterns.read_as(policy.pattern, action_type) or ""
    return PolicyMatch(policy, place == 0, why, read_as)


def _comparison(loser: Policy, winner: Policy, action_type: str) -> tuple[str, str]:
    """Return why the loser does not apply, and why the winner does."""
    names = {"loser": loser.pattern, "winner": winner.pattern}
    lost, won = patterns.literals(loser.pattern), patterns.literals(winner.pattern)
    if lost != won:
        counts = {**names, "lost": lost, "won": won}
        return (
            _("%(lost)d literal characters, %(winner)s has %(won)d") % counts,
            _("most literal characters: %(won)d") % counts,
        )
    written = [
        patterns.matches_as_written(policy.pattern, action_type) for policy in (loser, winner)
    ]
    if written == [False, True]:
        return (
            _("as many literal characters as %(winner)s, which matches as written") % names,
            _("as many literal characters as %(loser)s, and matches as written") % names,
        )
    lost, won = patterns.stars(loser.pattern), patterns.stars(winner.pattern)
    if lost != won:
        counts = {**names, "lost": lost, "won": won}
        return (
            _("as many literal characters as %(winner)s, and more *: %(lost)d, not %(won)d")
            % counts,
            _("as many literal characters as %(loser)s, and fewer *: %(won)d, not %(lost)d")
            % counts,
        )
    return (
        _("as many literal characters and * as %(winner)s, which sorts before it") % names,
        _("as many literal characters and * as %(loser)s, and sorts before it") % names,
    )
