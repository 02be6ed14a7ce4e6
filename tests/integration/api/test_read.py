"""Reading one request and a session's signal (docs/reference/wire.md, 3.3 and 3.4)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from hitl import services
from hitl.audit.request_digest import request_digest
from tests import factories
from tests.integration.calls import Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db


def test_read_answers_a_json_string(api: Api) -> None:
    request = factories.opened()

    answer = api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "Approval request retrieved")
    assert isinstance(answer.data, str)
    document = json.loads(answer.data)
    assert document == {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "userId": "user123",
        "tenantId": "tenant1",
        "actionType": "delete_mail",
        "context": factories.CONTEXT,
        "status": "pending",
        "createdAt": int(request.created_at.timestamp() * 1000),
        "message": "Delete 3 mails?",
        "expiresAt": int(request.expires_at.timestamp() * 1000),
        "contextDigest": request.context_digest,
        "requestDigest": request_digest(request),
    }


def test_read_tells_who_approved_and_when(api: Api) -> None:
    request = factories.opened()
    decided = services.approve(request.request_id, factories.actor())

    document = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)

    assert decided.decided_at is not None
    assert document["status"] == "approved"
    assert document["approvedBy"] == "approver1"
    assert document["approvedAt"] == int(decided.decided_at.timestamp() * 1000)
    assert not {"rejectedBy", "rejectedAt", "reason"} & document.keys()


def test_read_tells_who_rejected_when_and_why(api: Api) -> None:
    request = factories.opened()
    decided = services.reject(request.request_id, factories.actor(), reason="너무 많음")

    document = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)

    assert decided.decided_at is not None
    assert document["status"] == "rejected"
    assert (document["rejectedBy"], document["reason"]) == ("approver1", "너무 많음")
    assert document["rejectedAt"] == int(decided.decided_at.timestamp() * 1000)
    assert not {"approvedBy", "approvedAt"} & document.keys()


def test_read_shows_an_overdue_request_as_expired(api: Api) -> None:
    request = factories.opened(now=timezone.now() - timedelta(seconds=301))

    document = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)

    assert document["status"] == "expired"
    assert not {"approvedBy", "rejectedBy", "reason"} & document.keys()


def test_read_of_another_tenants_request_equals_that_of_a_missing_one(api: Api) -> None:
    request = factories.opened()

    missing = api.get("/aura/hitl/requests/req_there_is_none", OUTSIDER)

    assert missing.refusal == (404, "E1004")
    assert api.get(f"/aura/hitl/requests/{request.request_id}", OUTSIDER).facts == missing.facts


@pytest.mark.django_db(transaction=True)
def test_signal_is_a_json_string_of_what_was_published(api: Api, redis_client: redis.Redis) -> None:
    request = factories.opened()
    services.reject(request.request_id, factories.actor(), reason="no")

    answer = api.get(f"/aura/hitl/signals/{request.session_id}", APPROVER)

    assert (answer.status, answer.body["message"]) == (200, "Signal retrieved")
    assert answer.data == redis_client.get(f"hitl:signal:{request.session_id}")
    assert json.loads(answer.data)["status"] == "rejected"


@pytest.mark.django_db(transaction=True)
def test_signal_of_a_foreign_session_reads_as_none(api: Api, redis_client: redis.Redis) -> None:
    request = factories.opened()
    services.approve(request.request_id, factories.actor())

    missing = api.get("/aura/hitl/signals/session-without-any", OUTSIDER)
    foreign = api.get(f"/aura/hitl/signals/{request.session_id}", OUTSIDER)

    assert (missing.status, missing.body["message"]) == (200, "No signal found for session")
    assert "data" not in missing.body
    assert foreign.facts == missing.facts


@pytest.mark.django_db(transaction=True)
def test_signal_is_read_from_the_database_while_redis_is_away(api: Api, redis_away: None) -> None:
    request = factories.opened()
    services.approve(request.request_id, factories.actor())

    answer = api.get(f"/aura/hitl/signals/{request.session_id}", REQUESTER)

    assert json.loads(answer.data)["requestId"] == request.request_id


@pytest.mark.parametrize(
    "text",
    [
        b"no json",
        b"[]",
        b"12",
        b"null",
        b'{"type":"approval"}',
        b'{"requestId":null}',
        b'{"requestId":{"a":1}}',
        b"\xff\xfe",
        b'{"requestId":"a\\u0000"}',
        b'{"requestId":"\\ud800"}',
        b"[" * 100_000,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_signal_that_nobody_here_wrote_reads_as_none(
    api: Api, redis_client: redis.Redis, text: bytes
) -> None:
    factories.opened("s1")
    redis_client.set("hitl:signal:s1", text)

    answer = api.get("/aura/hitl/signals/s1", REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "No signal found for session")


@pytest.mark.django_db(transaction=True)
def test_signal_is_for_its_requester_and_those_who_may_decide(
    api: Api, redis_client: redis.Redis
) -> None:
    request = factories.opened()
    services.approve(request.request_id, factories.actor())
    bystander = Person("bystander", "tenant1", "user")
    has_signal = {
        person.user_id: "data" in api.get(f"/aura/hitl/signals/{request.session_id}", person).body
        for person in (REQUESTER, APPROVER, bystander)
    }

    assert has_signal == {"user123": True, "approver1": True, "bystander": False}
