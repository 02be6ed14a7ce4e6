"""Who may decide, withdraw and see, by role and by whose the request is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dwp_project.gateway.operators import Operator
from dwp_project.gateway.roles import USER, Role
from hitl import errors
from hitl.actors import Actor
from hitl.approvals import permissions
from hitl.models import ApprovalRequest, Policy
from hitl.states import ActorKind, Channel

NOON = datetime(2026, 1, 16, 12, tzinfo=UTC)
# Under each policy, what each person may do to a request. `own`: the person who asked.
ALL, NONE = "approve reject cancel", ""
RIGHTS: dict[str, dict[str, str]] = {
    "no policy": {
        "own user": ALL, "own viewer": ALL, "own approver": ALL, "own admin": ALL,
        "user": NONE, "viewer": NONE, "approver": ALL, "admin": ALL,
    },
    "forbid_requester": {
        "own user": "reject cancel", "own viewer": "reject cancel",
        "own approver": "reject cancel", "own admin": "reject cancel",
        "user": NONE, "viewer": NONE, "approver": ALL, "admin": ALL,
    },
    "required_role approver": {
        "own user": "reject cancel", "own viewer": "reject cancel",
        "own approver": ALL, "own admin": ALL,
        "user": NONE, "viewer": NONE, "approver": ALL, "admin": ALL,
    },
    "required_role admin": {
        "own user": "reject cancel", "own viewer": "reject cancel",
        "own approver": "reject cancel", "own admin": ALL,
        "user": NONE, "viewer": NONE, "approver": "cancel", "admin": ALL,
    },
    "escalated to admin": {
        "own user": "reject cancel", "own viewer": "reject cancel",
        "own approver": "reject cancel", "own admin": ALL,
        "user": NONE, "viewer": NONE, "approver": "cancel", "admin": ALL,
    },
}  # fmt: skip
POLICIES: dict[str, Policy | None] = {
    "no policy": None,
    "forbid_requester": Policy(forbid_requester=True),
    "required_role approver": Policy(required_role="approver"),
    "required_role admin": Policy(required_role="admin"),
    "escalated to admin": Policy(on_timeout="escalate", escalate_to_role="admin"),
}


def a_request(policy: str = "no policy") -> ApprovalRequest:
    """Return kim's request, which no database has seen."""
    return ApprovalRequest(
        request_id="req_1",
        tenant_id="tenant1",
        user_id="kim",
        policy=POLICIES[policy],
        escalated_at=NOON if policy.startswith("escalated") else None,
    )


def person(text: str) -> Actor:
    """Return kim, who asked, for `own …`, and lee otherwise, in the role that comes last."""
    name = "kim" if text.startswith("own") else "lee"
    return Actor(name, "tenant1", ActorKind.USER, Channel.REST, text.split()[-1])


def test_approvers_and_admins_decide_and_nobody_else() -> None:
    assert Role.values == ["viewer", "approver", "admin"]
    assert {"approver", "admin"} == permissions.DECIDERS
    assert USER == "user"


@pytest.mark.parametrize(
    ("kind", "role", "for_others", "for_oneself"),
    [
        (ActorKind.USER, "user", False, True),
        (ActorKind.USER, "", False, True),
        (ActorKind.USER, "viewer", False, True),
        (ActorKind.USER, "Admin", False, True),
        (ActorKind.USER, "approver", True, True),
        (ActorKind.USER, "admin", True, True),
        (ActorKind.OPERATOR, "", False, False),
        (ActorKind.OPERATOR, "viewer", False, False),
        (ActorKind.OPERATOR, "approver", True, True),
        (ActorKind.AGENT, "user", False, False),
        (ActorKind.CLOCK, "", False, False),
    ],
)
def test_actor_decides_by_role_or_as_requester(
    kind: ActorKind, role: str, for_others: bool, for_oneself: bool
) -> None:
    actor = Actor("kim", "tenant1", kind, Channel.REST, role)

    assert permissions.may_decide_for(actor, "lee") is for_others
    assert permissions.may_decide_for(actor, "kim") is for_oneself


@pytest.mark.parametrize("policy", RIGHTS)
@pytest.mark.parametrize("who", RIGHTS["no policy"])
def test_role_policy_and_requester_say_who_approves_rejects_and_cancels(
    who: str, policy: str
) -> None:
    request, actor = a_request(policy), person(who)
    refusals = {
        "approve": permissions.why_not_approve(actor, request),
        "reject": permissions.why_not_reject(actor, request),
        "cancel": permissions.why_not_cancel(actor, request),
    }

    assert (
        " ".join(verb for verb, refusal in refusals.items() if refusal is None)
        == (RIGHTS[policy][who])
    )


@pytest.mark.parametrize(
    ("who", "policy", "refusal"),
    [
        ("viewer", "required_role admin", errors.MayNotDecide),
        ("viewer", "forbid_requester", errors.MayNotDecide),
        ("approver", "required_role admin", errors.RoleRequired),
        ("own user", "required_role approver", errors.RoleRequired),
        ("own admin", "forbid_requester", errors.RequesterMayNotApprove),
    ],
)
def test_refusal_names_what_is_missing_first(
    who: str, policy: str, refusal: type[Exception]
) -> None:
    assert type(permissions.why_not_approve(person(who), a_request(policy))) is refusal


@pytest.mark.parametrize(
    ("who", "tenant_id", "may"),
    [
        ("own user", "tenant1", True),
        ("own viewer", "tenant1", True),
        ("user", "tenant1", False),
        ("viewer", "tenant1", False),
        ("approver", "tenant1", True),
        ("admin", "tenant1", True),
        ("own user", "tenant2", False),
        ("admin", "tenant2", False),
    ],
)
def test_signal_is_for_the_requester_and_the_deciders_of_the_tenant(
    who: str, tenant_id: str, may: bool
) -> None:
    actor = replace(person(who), tenant_id=tenant_id)

    assert permissions.may_see_signal(actor, a_request()) is may
    assert permissions.may_see(tenant_id, a_request()) is (tenant_id == "tenant1")


def test_operator_decides_where_their_role_is_a_deciders() -> None:
    roles = {"t4": "admin", "t3": "approver", "t2": "viewer", "t1": "Admin"}

    assert permissions.decides_in(Operator("desk", is_superuser=True, roles=roles)) == ["t3", "t4"]
