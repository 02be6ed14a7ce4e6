"""Who may decide, withdraw and see, by role and by whose the request is."""

from __future__ import annotations

import pytest

from dwp_project.gateway.roles import USER, Role
from hitl.actors import Actor
from hitl.approvals import permissions
from hitl.states import ActorKind, Channel


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
