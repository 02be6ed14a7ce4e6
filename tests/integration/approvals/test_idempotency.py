"""Answers kept under an Idempotency-Key (docs/reference/wire.md, 3.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from hitl.approvals import idempotency
from hitl.models import ApprovalRequest, AuditRecord, KeptAnswer, OutboxEntry
from hitl.states import AuditEvent
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.threads import together
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db

KEY = {"Idempotency-Key": "4d1f-once"}
OPENING = {"sessionId": "kept-session", "actionType": "delete_mail", "context": {"count": 3}}


def approve(request: ApprovalRequest) -> str:
    return f"/aura/hitl/approve/{request.request_id}"


@pytest.mark.django_db(transaction=True)
def test_key_sent_by_many_at_once_acts_once_and_answers_all(redis_client: object) -> None:
    request = factories.opened()

    def send() -> Answer:
        return Api().post(approve(request), APPROVER, headers=KEY)

    answers = together([send] * 8)

    assert [answer.status for answer in answers] == [200] * 8
    assert len({answer.content for answer in answers}) == 1
    assert OutboxEntry.objects.filter(request=request).count() == 1
    approvals = AuditRecord.objects.filter(event=AuditEvent.REQUEST_APPROVED)
    assert approvals.filter(request_id=request.request_id).count() == 1


def test_key_replays_an_opening_with_its_status(api: Api) -> None:
    first = api.post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY)
    again = api.post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY)

    assert (first.status, again.status) == (201, 201)
    assert again.content == first.content
    assert ApprovalRequest.objects.filter(session_id="kept-session").count() == 1


def test_key_is_refused_for_another_request(api: Api) -> None:
    api.post(approve(factories.opened()), APPROVER, headers=KEY)

    other = api.post(approve(factories.opened()), APPROVER, headers=KEY)

    assert other.refusal == (422, "E3007")


def test_key_is_each_users_and_each_endpoints_own(api: Api) -> None:
    mine, theirs = factories.opened(), factories.opened()
    api.post(approve(mine), APPROVER, headers=KEY)

    assert api.post(approve(theirs), REQUESTER, headers=KEY).status == 200
    opening = api.post("/aura/hitl/requests", APPROVER, OPENING, headers=KEY)
    assert opening.status == 201


def test_refusal_leaves_the_key_unused(api: Api) -> None:
    assert api.post("/aura/hitl/approve/req_none", APPROVER, headers=KEY).status == 404

    assert api.post(approve(factories.opened()), APPROVER, headers=KEY).status == 200


def test_earlier_decision_is_answered_409_and_not_stored(api: Api) -> None:
    request = factories.opened()
    api.post(approve(request), REQUESTER)

    assert api.post(approve(request), APPROVER, headers=KEY).status == 409
    assert not KeptAnswer.objects.exists()


def test_refused_session_is_audited_under_a_key_as_well(api: Api) -> None:
    factories.opened("taken-session")

    refused = api.post(
        "/aura/hitl/requests", OUTSIDER, {**OPENING, "sessionId": "taken-session"}, headers=KEY
    )

    assert refused.refusal == (404, "E1004")
    assert AuditRecord.objects.filter(event=AuditEvent.SESSION_REFUSED).count() == 1


@pytest.mark.parametrize("key", ["with space", "x" * 256, "키"])
def test_unusable_key_is_400_and_decides_nothing(api: Api, key: str) -> None:
    request = factories.opened()

    answer = api.post(approve(request), APPROVER, headers={"Idempotency-Key": key})

    assert answer.refusal == (400, "E1001")
    request.refresh_from_db()
    assert request.status == "pending"


def test_key_is_kept_for_a_day_and_then_forgotten(api: Api) -> None:
    api.post(approve(factories.opened()), APPROVER, headers=KEY)
    now = timezone.now()

    assert idempotency.forget_old(now=now + timedelta(hours=23)) == 0
    assert idempotency.forget_old(now=now + timedelta(hours=25)) == 1
    assert api.post(approve(factories.opened()), APPROVER, headers=KEY).status == 200


def test_key_replays_a_rejection(api: Api) -> None:
    path = f"/aura/hitl/reject/{factories.opened().request_id}"
    first = api.post(path, APPROVER, {"reason": "아직"}, headers=KEY)

    again = api.post(path, APPROVER, {"reason": "아직"}, headers=KEY)

    assert (first.status, again.content) == (200, first.content)
    assert api.post(path, APPROVER, {"reason": "no"}, headers=KEY).refusal == (422, "E3007")
    assert api.post(path, APPROVER, {"reason": "아직"}).status == 409


def test_key_is_each_tenants_own(api: Api) -> None:
    elsewhere = Person(APPROVER.user_id, OUTSIDER.tenant_id, APPROVER.role)
    theirs = Person(REQUESTER.user_id, OUTSIDER.tenant_id, REQUESTER.role)
    api.post(approve(factories.opened()), APPROVER, headers=KEY)

    answer = api.post(approve(factories.opened(by=theirs)), elsewhere, headers=KEY)

    assert answer.status == 200
    assert KeptAnswer.objects.count() == 2


def test_answer_is_replayed_for_24_hours_and_not_longer(api: Api) -> None:
    first = api.post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY)
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert api.post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY).content == first.content

    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))

    anew = api.post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY)
    assert (anew.status, anew.data["requestId"] == first.data["requestId"]) == (201, False)
    assert KeptAnswer.objects.get().created_at > timezone.now() - timedelta(hours=1)


def test_failure_leaves_the_key_unused_and_nothing_done(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = factories.opened()
    with monkeypatch.context() as patch:
        # After the decision, while its answer is made.
        patch.setattr("hitl.delivery.wire.decision", None)
        assert api.post(approve(request), APPROVER, headers=KEY).status == 500
    request.refresh_from_db()
    assert request.status == "pending"
    assert not KeptAnswer.objects.exists()
    assert not OutboxEntry.objects.exists()

    assert api.post(approve(request), APPROVER, headers=KEY).status == 200


@pytest.mark.django_db(transaction=True)
def test_opening_sent_by_many_at_once_opens_one_request(redis_client: object) -> None:
    def send() -> Answer:
        return Api().post("/aura/hitl/requests", REQUESTER, OPENING, headers=KEY)

    answers = together([send] * 8)

    assert {(answer.status, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert ApprovalRequest.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_key_sent_at_once_for_different_things_does_one_of_them(redis_client: object) -> None:
    requests = [factories.opened() for _ in range(6)]

    answers = together(
        [lambda r=r: Api().post(approve(r), APPROVER, headers=KEY) for r in requests]  # type: ignore[misc]
    )

    assert sorted(answer.status for answer in answers) == [200] + [422] * 5
    assert ApprovalRequest.objects.filter(status="approved").count() == 1
