"""`POST /aura/hitl/requests` (docs/reference/wire.md, 3.5)."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.forms import model_to_dict

from dwp_project.jsontext import digest
from hitl import services
from hitl.audit import verify
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Origin
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db

PATH = "/aura/hitl/requests"


def body(**members: Any) -> dict[str, Any]:
    return {"sessionId": factories.a_session_id(), "actionType": "delete_mail", **members}


def test_opening_answers_the_object(api: Api) -> None:
    sent = body(
        message="메일 3개를 삭제할까요?", context={"b": 1, "a": [None, "가"]}, timeoutSeconds=60
    )

    answer = api.post(PATH, REQUESTER, sent)

    data = answer.data
    assert answer.status == 201
    assert data["requestId"].startswith("req_")
    assert isinstance(data["createdAt"], int)
    assert data["expiresAt"] == data["createdAt"] + 60_000
    assert data == {
        "requestId": data["requestId"],
        "sessionId": sent["sessionId"],
        "userId": "user123",
        "tenantId": "tenant1",
        "actionType": "delete_mail",
        "context": sent["context"],
        "status": "pending",
        "createdAt": data["createdAt"],
        "message": sent["message"],
        "expiresAt": data["expiresAt"],
        "contextDigest": digest(sent["context"]),
        "requestDigest": request_digest(ApprovalRequest.objects.get()),
    }


def test_opening_waits_300_seconds_unless_the_question_says_otherwise(api: Api) -> None:
    data = api.post(PATH, REQUESTER, body()).data

    assert data["expiresAt"] - data["createdAt"] == 300_000
    assert data["context"] == {}
    assert "message" not in data


def test_opening_again_answers_the_same_object(api: Api) -> None:
    sent = body(requestId="req-1", context={"a": 1, "b": 2}, message="?")
    first = api.post(PATH, REQUESTER, sent)

    # The same JSON object, its members in another order.
    again = api.post(PATH, REQUESTER, {**sent, "context": {"b": 2, "a": 1}})

    assert (first.status, again.status) == (201, 200)
    assert again.data == first.data
    assert ApprovalRequest.objects.count() == 1
    assert AuditRecord.objects.filter(event="request:opened").count() == 1


def test_opening_again_after_the_decision_answers_the_decided_request(api: Api) -> None:
    sent = body(requestId="req-1")
    api.post(PATH, REQUESTER, sent)
    services.reject("req-1", factories.actor(), reason="no")

    again = api.post(PATH, REQUESTER, sent)

    assert again.status == 200
    assert (again.data["status"], again.data["rejectedBy"]) == ("rejected", "approver1")


@pytest.mark.parametrize(
    "change",
    [
        {"actionType": "send_mail"},
        {"message": "other"},
        {"context": {"count": 4}},
        {"timeoutSeconds": 61},
    ],
    ids=lambda change: next(iter(change)),
)
def test_opening_another_request_under_a_known_id_conflicts(
    api: Api, change: dict[str, Any]
) -> None:
    sent = body(requestId="req-1", timeoutSeconds=60, context={"count": 3})
    api.post(PATH, REQUESTER, sent)

    assert api.post(PATH, REQUESTER, {**sent, **change}).refusal == (409, "E3006")


def test_opening_under_a_known_id_conflicts_in_another_session(api: Api) -> None:
    api.post(PATH, REQUESTER, body(requestId="req-1"))

    assert api.post(PATH, REQUESTER, body(requestId="req-1")).refusal == (409, "E3006")
    assert api.post(PATH, OUTSIDER, body(requestId="req-1")).refusal == (409, "E3006")


def test_opening_under_another_tenants_id_is_audited_as_ones_own(api: Api) -> None:
    theirs = body(requestId="req-1", message="theirs", context={"theirs": 1})
    api.post(PATH, REQUESTER, theirs)
    sent = body(requestId="req-1", actionType="send_mail")

    assert api.post(PATH, OUTSIDER, sent).refusal == (409, "E3006")

    refused = AuditRecord.objects.get(event="request:refused")
    assert (refused.tenant_id, refused.actor, refused.channel) == ("tenant2", "outsider1", "rest")
    assert (refused.request_id, refused.session_id) == ("req-1", sent["sessionId"])
    assert refused.action_type == "send_mail"
    record = str(model_to_dict(refused))
    assert not any(word in record for word in ("tenant1", "user123", theirs["sessionId"], "theirs"))
    assert isinstance(verify.verify("tenant2"), verify.IntactChain)


def test_opening_under_another_tenants_id_is_audited_under_a_key_too(api: Api) -> None:
    api.post(PATH, REQUESTER, body(requestId="req-1"))
    headers = {"Idempotency-Key": "key-1"}

    api.post(PATH, OUTSIDER, body(requestId="req-1"), headers=headers)

    assert AuditRecord.objects.filter(event="request:refused").count() == 1


def test_opening_under_the_id_of_a_foreign_agents_question_is_audited(
    api: Api, redis_client: redis.Redis
) -> None:
    redis_agents.asks(redis_client, "session-agent", "req-1")

    assert api.post(PATH, OUTSIDER, body(requestId="req-1")).refusal == (409, "E3006")

    assert AuditRecord.objects.get(event="request:refused").tenant_id == "tenant2"


def test_opening_under_a_known_id_of_ones_own_tenant_is_not_audited(api: Api) -> None:
    api.post(PATH, REQUESTER, body(requestId="req-1"))

    assert api.post(PATH, APPROVER, body(requestId="req-1")).refusal == (409, "E3006")

    assert not AuditRecord.objects.filter(event="request:refused").exists()


def test_conflict_claims_no_session(api: Api) -> None:
    api.post(PATH, REQUESTER, body(requestId="req-1"))
    sent = body(requestId="req-1")
    assert api.post(PATH, OUTSIDER, sent).status == 409

    assert api.post(PATH, REQUESTER, {**sent, "requestId": "req-2"}).status == 201


@pytest.mark.parametrize(
    "stranger", [APPROVER, OUTSIDER], ids=["of the tenant", "of another tenant"]
)
def test_opening_in_a_foreign_session_is_not_found_and_audited(api: Api, stranger: Person) -> None:
    sent = body()
    api.post(PATH, REQUESTER, sent)

    assert api.post(PATH, stranger, sent).refusal == (404, "E1004")

    assert ApprovalRequest.objects.count() == 1
    refused = AuditRecord.objects.get(event="session:refused")
    assert (refused.tenant_id, refused.actor, refused.session_id) == (
        stranger.tenant_id,
        stranger.user_id,
        sent["sessionId"],
    )


def test_opening_over_rest_in_an_agents_session_is_not_found(api: Api) -> None:
    sent = body()
    services.open_request(
        factories.question(sent["sessionId"]), factories.actor(REQUESTER), Origin.AGENT
    )

    assert api.post(PATH, REQUESTER, sent).refusal == (404, "E1004")


def test_opening_records_who_and_from_where(api: Api) -> None:
    headers = {
        "X-Agent-ID": "agent-7",
        "X-DWP-Source": "BATCH",
        "X-DWP-Caller-Type": "AGENT",
        "User-Agent": "tests/1",
    }

    data = api.post(PATH, REQUESTER, body(), headers=headers).data

    assert ApprovalRequest.objects.get().agent_id == "agent-7"
    record = AuditRecord.objects.get()
    assert (record.event, record.actor, record.actor_kind) == ("request:opened", "user123", "user")
    assert (record.source_address, record.user_agent) == ("127.0.0.1", "tests/1")
    assert record.context_digest == data["contextDigest"]
    assert '"source":"BATCH"' in record.details
    assert '"callerType":"AGENT"' in record.details


def test_opening_without_headers_is_recorded_as_frontend_and_user(api: Api) -> None:
    api.post(PATH, REQUESTER, body())

    assert '"callerType":"USER"' in AuditRecord.objects.get().details
    assert '"source":"FRONTEND"' in AuditRecord.objects.get().details


def test_opening_keeps_context_as_it_came(api: Api) -> None:
    context = {"z": {"y": 1, "x": 2}, "a": 1.5, "nul": "\x00", "고": "🙂", "n": 10**30}

    data = api.post(PATH, REQUESTER, body(context=context)).data

    assert data["context"] == context
    assert list(data["context"]) == list(context)
