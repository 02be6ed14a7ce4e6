"""`POST /aura/hitl/requests/{requestId}/cancel` (docs/reference/wire.md, 3.5)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from hitl import services
from hitl.models import AuditRecord, OutboxEntry
from tests import factories
from tests.integration.calls import Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db


def test_cancel_withdraws_the_request(api: Api) -> None:
    request = factories.opened()

    answer = api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "Request cancelled")
    assert answer.data == {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "status": "cancelled",
    }
    record = AuditRecord.objects.get(event="request:cancelled")
    assert (record.request_id, record.actor) == (request.request_id, "user123")


@pytest.mark.django_db(transaction=True)
def test_cancel_signals_nothing(api: Api, redis_client: redis.Redis) -> None:
    request = factories.opened()

    with redis_client.pubsub() as ear:
        ear.subscribe(f"hitl:channel:{request.session_id}")
        ear.get_message(timeout=5)
        api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER)
        assert ear.get_message(timeout=0.3) is None

    assert not OutboxEntry.objects.exists()
    assert redis_client.get(f"hitl:signal:{request.session_id}") is None
    document = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert document["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_cancel_of_a_decided_request_answers_the_decision(api: Api, verb: str) -> None:
    request = factories.opened()
    stands = api.post(f"/aura/hitl/{verb}/{request.request_id}", APPROVER).data

    answer = api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER)

    assert (answer.status, answer.data) == (409, stands)


def test_cancel_of_what_is_over_is_gone(api: Api) -> None:
    cancelled = factories.opened()
    services.cancel(cancelled.request_id, factories.actor())
    expired = factories.opened(now=timezone.now() - timedelta(seconds=301))

    for request in (cancelled, expired):
        answer = api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER)
        assert answer.refusal == (410, "E3002")
    assert AuditRecord.objects.filter(event="request:cancelled").count() == 1


@pytest.mark.parametrize(
    ("person", "refusal"),
    [(Person("other", "tenant1", "user"), (403, "E2001")), (OUTSIDER, (404, "E1004"))],
    ids=["bystander", "outsider"],
)
def test_cancel_is_not_for_everybody(api: Api, person: Person, refusal: tuple[int, str]) -> None:
    request = factories.opened()

    answer = api.post(f"/aura/hitl/requests/{request.request_id}/cancel", person)

    assert answer.refusal == refusal
