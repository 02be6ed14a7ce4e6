"""What is checked before a decision is made, and in which order (wire.md, 3.2 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from dwp_project.jsontext import parse
from hitl import services
from hitl.audit import compare_requests
from hitl.models import ApprovalRequest, AuditRecord, Vote
from tests import factories
from tests.integration.calls import Answer, Api
from tests.people import APPROVER, REQUESTER, TENANT, Person
from tests.ruling import APPROVERS, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

BYSTANDER = Person("bystander", TENANT, "user")
SECOND = APPROVERS[1]


def decide(verb: str, request: ApprovalRequest, by: Person, body: Any = b"") -> Answer:
    return Api().post(f"/aura/hitl/{verb}/{request.request_id}", by, body)


def test_permission_is_checked_before_state(redis_client: redis.Redis) -> None:
    request = factories.opened()
    decide("approve", request, REQUESTER)

    assert decide("approve", request, BYSTANDER).refusal == (403, "E2001")


@pytest.mark.parametrize("reason", [None, "", "   "])
def test_rejection_without_the_reason_that_a_policy_wants_is_refused(
    redis_client: redis.Redis, reason: Any
) -> None:
    a_policy(reason_required=True)
    request = factories.opened()

    answer = decide("reject", request, APPROVER, {"reason": reason})

    assert answer.refusal == (400, "E4000")
    assert "wants a reason" in answer.body["message"]
    request.refresh_from_db()
    assert request.status == "pending"
    assert decide("reject", request, APPROVER, {"reason": "no"}).status == 200
    assert decide("reject", request, APPROVER).status == 409


@pytest.mark.parametrize("verb", [services.approve, services.reject, services.cancel])
def test_nothing_is_decided_before_it_was_asked(
    redis_client: redis.Redis, verb: Callable[..., ApprovalRequest]
) -> None:
    """Two processes may differ by milliseconds in what they know of the time."""
    request = factories.opened(now=timezone.now() + timedelta(milliseconds=500))

    ended = verb(request.request_id, factories.actor())

    assert ended.decided_at == request.created_at
    assert not compare_requests.compare_request(ApprovalRequest.objects.get(pk=request.pk))


def test_nobody_votes_before_it_was_asked(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened(now=timezone.now() + timedelta(milliseconds=500))

    services.approve(request.request_id, factories.actor())

    assert Vote.objects.get().voted_at == request.created_at
    assert AuditRecord.objects.get(event="request:voted").at == request.created_at
    assert not compare_requests.compare_request(ApprovalRequest.objects.get(pk=request.pk))


def test_approving_needs_no_reason(redis_client: redis.Redis) -> None:
    a_policy(reason_required=True)

    assert decide("approve", factories.opened(), APPROVER).status == 200


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_on_something_else_than_is_stored_is_refused(
    redis_client: redis.Redis, verb: str
) -> None:
    request = factories.opened()

    answer = decide(verb, request, APPROVER, {"contextDigest": "0" * 64})

    assert answer.refusal == (409, "E3006")
    request.refresh_from_db()
    assert request.status == "pending"
    assert decide(verb, request, APPROVER, {"contextDigest": "short"}).refusal == (400, "E4000")
    body = {"contextDigest": request.context_digest}
    assert decide(verb, request, APPROVER, body).status == 200
    record = AuditRecord.objects.exclude(event="decision:refused").latest("sequence")
    assert parse(record.details)["shownDigest"] == request.context_digest


def test_earlier_decision_is_answered_before_digest_and_reason_are_checked(
    redis_client: redis.Redis,
) -> None:
    a_policy(reason_required=True)
    request = factories.opened()
    decide("approve", request, APPROVER)

    answer = decide("reject", request, SECOND, {"contextDigest": "0" * 64})

    assert (answer.status, answer.data["status"]) == (409, "approved")
