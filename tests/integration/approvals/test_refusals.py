"""Decisions that are refused are in the book, and nothing about them leaks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from dwp_project.jsontext import parse
from hitl import errors, services
from hitl.audit import record as audit_record
from hitl.audit import verify
from hitl.models import ApprovalRequest, AuditRecord
from tests import factories
from tests.integration.calls import Api
from tests.people import APPROVER, OTHER_TENANT, OUTSIDER, REQUESTER, TENANT, Person
from tests.ruling import ADMIN, a_policy

pytestmark = pytest.mark.django_db

BYSTANDER = Person("bystander", TENANT, "user")


def refused() -> list[AuditRecord]:
    return list(AuditRecord.objects.filter(event="decision:refused").order_by("id"))


def details(record: AuditRecord) -> dict[str, Any]:
    members: dict[str, Any] = parse(record.details)
    return members


def approve(
    request: ApprovalRequest | str, by: Person, body: Any = b"", verb: str = "approve", **more: Any
) -> Any:
    name = request if isinstance(request, str) else request.request_id
    return Api().post(f"/aura/hitl/{verb}/{name}", by, body, **more)


@pytest.mark.parametrize(
    ("rule", "by", "verb", "body", "why"),
    [
        ({}, BYSTANDER, "approve", {}, "wrong role"),
        ({}, BYSTANDER, "reject", {}, "wrong role"),
        ({"required_role": "admin"}, APPROVER, "approve", {}, "wrong role"),
        ({"forbid_requester": True}, REQUESTER, "approve", {}, "own request"),
        ({}, APPROVER, "approve", {"contextDigest": "0" * 64}, "digest differs"),
        ({"reason_required": True}, APPROVER, "reject", {}, "reason missing"),
    ],
)
def test_refused_decision_is_recorded_with_its_reason(
    redis_client: redis.Redis, rule: Any, by: Person, verb: str, body: Any, why: str
) -> None:
    a_policy(**rule)
    request = factories.opened()

    assert approve(request, by, body, verb).status in (400, 403, 409)

    [record] = refused()
    assert (record.tenant_id, record.actor, record.channel) == (TENANT, by.user_id, "rest")
    assert (record.request_id, record.context_digest) == (
        request.request_id,
        request.context_digest,
    )
    members = details(record)
    assert (members["why"], members["tried"]) == (why, verb)
    assert members["policy"] == {"pattern": "delete_*", "version": 1}
    assert members.get("shownDigest") == body.get("contextDigest")
    assert members.get("requiredRole") == rule.get("required_role")
    request.refresh_from_db()
    assert request.status == "pending"


def test_refused_withdrawal_is_recorded(redis_client: redis.Redis) -> None:
    request = factories.opened()

    assert Api().post(f"/aura/hitl/requests/{request.request_id}/cancel", BYSTANDER).status == 403

    [record] = refused()
    assert details(record)["tried"] == "cancel"


def test_decision_in_another_tenant_is_in_no_tenants_chain_and_answered_as_ever(
    redis_client: redis.Redis,
) -> None:
    request = factories.opened()
    missing = approve("req_there_is_none", OUTSIDER)

    assert approve(request, OUTSIDER).facts == missing.facts

    [record] = refused()
    # In the chain of whoever attacks, it would tell them that there is such a request.
    assert (record.tenant_id, record.actor) == ("", "outsider1")
    assert record.request_id == request.request_id
    members = details(record)
    assert (members["why"], members["tenant"]) == ("wrong tenant", OTHER_TENANT)
    # Nothing of it but the id that was sent.
    assert (record.session_id, record.context_digest, record.action_type) == ("", "", "")
    assert not AuditRecord.objects.filter(tenant_id=TENANT).exclude(event="request:opened").exists()


@pytest.mark.parametrize("name", ["req_unknown", "a%20b", "%00"])
def test_what_does_not_exist_is_not_recorded(redis_client: redis.Redis, name: str) -> None:
    assert approve(name, APPROVER).status == 404

    assert refused() == []


def test_nobody_without_a_token_is_recorded(redis_client: redis.Redis) -> None:
    request = factories.opened()

    for headers in (
        {},
        {"X-Tenant-ID": TENANT},
        {"X-Tenant-ID": TENANT, "Authorization": "Bearer x"},
    ):
        path = f"/aura/hitl/approve/{request.request_id}"
        assert Api().post(path, headers=headers).status in (400, 401)

    assert refused() == []


def test_losing_a_race_is_no_refusal(redis_client: redis.Redis) -> None:
    request = factories.opened()
    approve(request, REQUESTER)
    expired = factories.opened(now=timezone.now() - timedelta(hours=1))

    assert approve(request, APPROVER).status == 409
    assert approve(expired, APPROVER).status == 410

    assert refused() == []


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("knows", [True, False])
def test_context_changed_in_the_database_is_decided_by_nobody(
    redis_client: redis.Redis, verb: str, knows: bool
) -> None:
    request = factories.opened(context={"count": 3})
    ApprovalRequest.objects.update(context_text='{"count":3000}')
    body = {"contextDigest": request.context_digest} if knows else {}

    assert approve(request, APPROVER, body, verb).refusal == (409, "E3006")

    assert [details(record)["why"] for record in refused()] == ["digest differs"]
    assert services.cancel(request.request_id, factories.actor()).status == "cancelled"


def test_same_refusal_is_recorded_once_a_minute(redis_client: redis.Redis) -> None:
    request = factories.opened(timeout_seconds=1000)
    actor, now = factories.actor(BYSTANDER), timezone.now()

    for seconds in (0, 1, 59, 61):
        with pytest.raises(errors.MayNotDecide):
            services.approve(request.request_id, actor, now=now + timedelta(seconds=seconds))
    assert len(refused()) == 2

    with pytest.raises(errors.MayNotDecide):
        services.reject(request.request_id, actor, now=now + timedelta(seconds=61))
    other = factories.actor(Person("other", TENANT, "user"))
    with pytest.raises(errors.MayNotDecide):
        services.approve(request.request_id, other, now=now + timedelta(seconds=61))
    assert len(refused()) == 4


def test_another_digest_each_time_is_the_same_refusal(redis_client: redis.Redis) -> None:
    request = factories.opened()

    for number in range(5):
        approve(request, APPROVER, {"contextDigest": f"{number:064x}"})

    assert len(refused()) == 1


def test_refusal_is_recorded_under_an_idempotency_key(redis_client: redis.Redis) -> None:
    request = factories.opened()

    answer = approve(request, BYSTANDER, headers={"Idempotency-Key": "k"})

    assert answer.status == 403
    assert len(refused()) == 1


def test_refusal_that_cannot_be_recorded_is_answered_as_ever(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = factories.opened()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(audit_record, "write", fail)

    assert approve(request, BYSTANDER).refusal == (403, "E2001")


def test_chain_holds_with_refusals_in_it(redis_client: redis.Redis) -> None:
    request = factories.opened()
    approve(request, BYSTANDER)
    approve(request, OUTSIDER)
    approve(request, ADMIN)

    for tenant in (TENANT, OTHER_TENANT):
        assert isinstance(verify.verify(tenant), verify.IntactChain)
