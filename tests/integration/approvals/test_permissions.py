"""Who may decide and withdraw, and where a policy wants another role (wire.md, 3.2 and 3.6)."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from hitl import errors, services
from hitl.approvals import permissions
from hitl.models import ApprovalRequest
from hitl.states import ActorKind, Status
from tests import factories
from tests.integration.calls import Answer, Api
from tests.people import APPROVER, REQUESTER, TENANT, Person
from tests.ruling import ADMIN, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

BYSTANDER = Person("bystander", TENANT, "user")
VIEWER = Person("viewer1", TENANT, "viewer")
ASKING_APPROVER = Person("asker", TENANT, "approver")


def decide(verb: str, request: ApprovalRequest, by: Person) -> Answer:
    return Api().post(f"/aura/hitl/{verb}/{request.request_id}", by)


@pytest.mark.parametrize(
    "person", [REQUESTER, APPROVER, ADMIN], ids=["requester", "approver", "admin"]
)
def test_decision_is_for_requester_approver_and_admin(
    redis_client: redis.Redis, person: Person
) -> None:
    request = factories.opened()

    assert decide("approve", request, person).status == 200


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("person", [BYSTANDER, VIEWER], ids=["user", "viewer"])
def test_decision_is_for_nobody_else(redis_client: redis.Redis, verb: str, person: Person) -> None:
    request = factories.opened()

    assert decide(verb, request, person).refusal == (403, "E2001")

    request.refresh_from_db()
    assert request.status == Status.PENDING


@pytest.mark.parametrize(
    ("rule", "person", "approves", "rejects"),
    [
        ({}, REQUESTER, True, True),
        ({}, VIEWER, False, False),
        ({"forbid_requester": True}, REQUESTER, False, True),
        ({"forbid_requester": True}, ASKING_APPROVER, False, True),
        ({"forbid_requester": True}, APPROVER, True, True),
        ({"required_role": "approver"}, REQUESTER, False, True),
        ({"required_role": "approver"}, APPROVER, True, True),
        ({"required_role": "approver"}, ASKING_APPROVER, True, True),
        ({"required_role": "approver"}, ADMIN, True, True),
        ({"required_role": "approver"}, VIEWER, False, False),
        ({"required_role": "admin"}, REQUESTER, False, True),
        ({"required_role": "admin"}, APPROVER, False, False),
        ({"required_role": "admin"}, ASKING_APPROVER, False, True),
        ({"required_role": "admin"}, ADMIN, True, True),
    ],
)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_policy_says_who_decides(
    redis_client: redis.Redis,
    verb: str,
    rule: dict[str, Any],
    person: Person,
    approves: bool,
    rejects: bool,
) -> None:
    a_policy(**rule)
    by = person if person == ASKING_APPROVER else REQUESTER
    request = factories.opened(by=by)
    may = approves if verb == "approve" else rejects

    answer = decide(verb, request, person)

    assert answer.status == (200 if may else 403)
    request.refresh_from_db()
    assert (request.status == "pending") is not may


def test_requester_is_forbidden_as_operator_too(redis_client: redis.Redis) -> None:
    a_policy(forbid_requester=True)
    request = factories.opened(by=ASKING_APPROVER)
    operator = factories.actor(ASKING_APPROVER, ActorKind.OPERATOR)

    with pytest.raises(errors.RequesterMayNotApprove):
        services.approve(request.request_id, operator)


@pytest.mark.parametrize("person", [REQUESTER, APPROVER, ADMIN], ids=lambda p: p.role)
def test_withdrawing_is_no_decision(redis_client: redis.Redis, person: Person) -> None:
    a_policy(required_role="admin", forbid_requester=True)
    request = factories.opened()

    assert services.cancel(request.request_id, factories.actor(person)).status == "cancelled"


def test_pages_are_refused_as_the_services_are(redis_client: redis.Redis) -> None:
    a_policy(required_role="admin")
    request = factories.opened()

    assert isinstance(permissions.why_not_approve(factories.actor(), request), errors.RoleRequired)
    assert permissions.why_not_approve(factories.actor(ADMIN), request) is None


def test_four_eyes_are_not_two_spellings(redis_client: redis.Redis) -> None:
    a_policy(forbid_requester=True)
    request = factories.opened()
    same = Person(request.user_id.upper(), APPROVER.tenant_id, "approver")

    with pytest.raises(errors.RequesterMayNotApprove):
        services.approve(request.request_id, factories.actor(same))
