"""`POST /aura/hitl/approve` and `/reject` (docs/reference/wire.md, 3.1 and 3.2)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dwp_project import clocks
from hitl import services
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import Status
from tests import factories
from tests.integration.calls import Answer, Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db


def decide(api: Api, verb: str, request_id: str, by: Person, body: Any = b"") -> Answer:
    return api.post(f"/aura/hitl/{verb}/{request_id}", by, body)


def said(verb: str, words: str = "first") -> dict[str, str]:
    """Return a body with a comment or a reason, whichever the verb takes."""
    return {"comment" if verb == "approve" else "reason": words}


def test_approve_answers_as_the_contract_shows(api: Api) -> None:
    request = factories.opened()

    answer = decide(api, "approve", request.request_id, REQUESTER, {"userId": "user123"})

    body = answer.body
    assert body.pop("timestamp")
    assert (answer.status, body) == (
        200,
        {
            "status": "SUCCESS",
            "message": "Request approved successfully",
            "data": {
                "requestId": request.request_id,
                "sessionId": request.session_id,
                "status": "approved",
            },
            "success": True,
        },
    )


def test_reject_answers_as_the_contract_shows(api: Api) -> None:
    request = factories.opened()

    answer = decide(
        api, "reject", request.request_id, REQUESTER, {"userId": "user123", "reason": "아직 아님"}
    )

    assert (answer.status, answer.body["message"]) == (200, "Request rejected")
    assert answer.data == {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "status": "rejected",
        "reason": "아직 아님",
    }


@pytest.mark.parametrize("body", [b"", b"  ", {}, {"userId": None}, {"userId": ""}])
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_needs_no_user_id_in_its_body(api: Api, verb: str, body: Any) -> None:
    request = factories.opened()

    assert decide(api, verb, request.request_id, REQUESTER, body).status == 200


@pytest.mark.parametrize("body", [b"", {"reason": None}, {"reason": ""}, {"reason": "  "}])
def test_reject_without_a_reason_says_user_rejected(api: Api, body: Any) -> None:
    request = factories.opened()

    answer = decide(api, "reject", request.request_id, REQUESTER, body)

    assert answer.data["reason"] == "User rejected"


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("second", ["approve", "reject"])
def test_second_decision_is_answered_with_the_first(api: Api, first: str, second: str) -> None:
    request = factories.opened()
    first_decision = decide(api, first, request.request_id, REQUESTER, said(first)).data
    if first == "reject":
        assert first_decision["reason"] == "first"

    answer = decide(api, second, request.request_id, APPROVER, said(second, "second"))

    assert answer.status == 409
    assert answer.body["status"] == "SUCCESS"
    assert answer.body["success"] is True
    assert answer.body["message"] == "Request was already processed (idempotent)"
    assert answer.data == first_decision
    assert "errorCode" not in answer.body


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_second_decision_leaves_no_trace(api: Api, second: str) -> None:
    request = factories.opened()
    decide(api, "approve", request.request_id, REQUESTER)

    decide(api, second, request.request_id, APPROVER)

    request.refresh_from_db()
    assert (request.status, request.decided_by) == ("approved", "user123")
    assert list(
        AuditRecord.objects.filter(request_id=request.request_id)
        .order_by("sequence")
        .values_list("event", flat=True)
    ) == ["request:opened", "request:approved"]
    assert OutboxEntry.objects.filter(request=request).count() == 1


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_on_an_expired_request_is_gone(api: Api, verb: str) -> None:
    request = factories.opened(now=timezone.now() - timedelta(seconds=301))

    assert decide(api, verb, request.request_id, REQUESTER).refusal == (410, "E3002")

    request.refresh_from_db()
    assert request.status == Status.EXPIRED
    assert not OutboxEntry.objects.filter(request=request).exists()


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_on_a_cancelled_request_is_gone(api: Api, verb: str) -> None:
    request = factories.opened()
    services.cancel(request.request_id, factories.actor())

    assert decide(api, verb, request.request_id, REQUESTER).refusal == (410, "E3002")


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_decision_on_an_unknown_request_is_not_found(api: Api, verb: str) -> None:
    path = f"requests/req_x/{verb}" if verb == "cancel" else f"{verb}/req_x"

    assert api.post(f"/aura/hitl/{path}", REQUESTER).refusal == (404, "E1004")


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("person", [REQUESTER, APPROVER], ids=["requester", "approver"])
def test_nobody_decides_in_anothers_name(api: Api, verb: str, person: Person) -> None:
    request = factories.opened()

    answer = decide(api, verb, request.request_id, person, {"userId": "somebody-else"})

    assert answer.refusal == (403, "E2001")
    assert ApprovalRequest.objects.get().status == Status.PENDING


def test_body_is_checked_before_the_request_is_looked_up(api: Api) -> None:
    assert decide(api, "approve", "req_unknown", REQUESTER, b"{").refusal == (400, "E4000")
    assert decide(api, "approve", "req_unknown", REQUESTER, {"userId": "else"}).refusal == (
        403,
        "E2001",
    )


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_another_tenants_request_is_not_found(api: Api, verb: str) -> None:
    request = factories.opened()

    missing = decide(api, verb, "req_there_is_none", OUTSIDER)

    assert missing.refusal == (404, "E1004")
    assert decide(api, verb, request.request_id, OUTSIDER).facts == missing.facts


def test_decision_is_recorded_with_its_maker_and_time(api: Api) -> None:
    request = factories.opened()
    before = clocks.now()

    decide(api, "reject", request.request_id, APPROVER, {"reason": "no"})

    request.refresh_from_db()
    assert request.decided_by == "approver1"
    assert request.decided_channel == "rest"
    assert request.decided_at is not None
    assert before <= request.decided_at <= clocks.now()


def test_idempotency_key_replays_the_first_answer(api: Api) -> None:
    request = factories.opened()
    path, key = f"/aura/hitl/approve/{request.request_id}", {"Idempotency-Key": "k1"}
    first = api.post(path, REQUESTER, headers=key)

    assert api.post(path, REQUESTER, headers=key).facts == first.facts


def test_idempotency_key_is_not_for_another_payload(api: Api) -> None:
    request = factories.opened()
    path, key = f"/aura/hitl/reject/{request.request_id}", {"Idempotency-Key": "k1"}
    api.post(path, REQUESTER, {"reason": "a"}, headers=key)

    assert api.post(path, REQUESTER, {"reason": "b"}, headers=key).refusal == (422, "E3007")


def test_comment_of_an_approval_is_kept_and_shown_once_approved(api: Api) -> None:
    request = factories.opened()
    comment = "Nur diese drei 아직\n🙂"

    answer = decide(api, "approve", request.request_id, APPROVER, {"comment": comment})

    assert (answer.status, "comment" in answer.data) == (200, False)
    shown = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)
    assert shown["comment"] == comment
    record = AuditRecord.objects.get(event="request:approved")
    assert json.loads(record.details)["comment"] == comment
    request.refresh_from_db()
    assert (request.comment, request.reason) == (comment, "")


@pytest.mark.parametrize("comment", [None, "", "  ", "\n"])
def test_approval_without_words_has_no_comment(api: Api, comment: str | None) -> None:
    request = factories.opened()

    assert decide(api, "approve", request.request_id, APPROVER, {"comment": comment}).status == 200

    shown = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)
    assert "comment" not in shown
    assert "comment" not in json.loads(AuditRecord.objects.get(event="request:approved").details)


@pytest.mark.parametrize("comment", ["x" * 10_001, "a\0b", ["x"], {"a": "b"}, True])
def test_comment_that_cannot_be_kept_decides_nothing(api: Api, comment: Any) -> None:
    request = factories.opened()

    answer = decide(api, "approve", request.request_id, APPROVER, {"comment": comment})

    assert answer.refusal == (400, "E4000")
    assert answer.body["message"].startswith("comment: ")
    request.refresh_from_db()
    assert request.status == Status.PENDING


def test_idempotency_key_is_not_for_another_comment(api: Api) -> None:
    request = factories.opened()
    url, key = f"/aura/hitl/approve/{request.request_id}", {"Idempotency-Key": "k"}

    first = api.post(url, APPROVER, {"comment": "yes"}, headers=key)

    assert api.post(url, APPROVER, {"comment": "yes"}, headers=key).content == first.content
    assert api.post(url, APPROVER, {"comment": "no"}, headers=key).refusal == (422, "E3007")
    assert api.post(url, APPROVER, {}, headers=key).refusal == (422, "E3007")


_KNOWN = {
    "approve": "userId, contextDigest, requestDigest, comment",
    "reject": "userId, contextDigest, requestDigest, reason",
    "cancel": "userId",
}


@pytest.mark.parametrize(
    ("verb", "unknown"),
    [
        *(("approve", name) for name in ("context", "params", "action", "reason", "Comment")),
        *(("reject", name) for name in ("context", "comment", "userid", "")),
        *(("cancel", name) for name in ("reason", "comment", "contextDigest", "context")),
    ],
)
@pytest.mark.parametrize("value", [None, "x", {"count": 1}])
def test_unknown_member_decides_nothing(api: Api, verb: str, unknown: str, value: Any) -> None:
    request = factories.opened()
    path = f"requests/{request.request_id}/cancel" if verb == "cancel" else f"{verb}/nobodys"
    for url in (path, path.replace("nobodys", request.request_id)):
        answer = api.post(f"/aura/hitl/{url}", REQUESTER, {"userId": "user123", unknown: value})

        # Before the look-up (wire.md, 1).
        assert answer.refusal == (400, "E4000")
        said = f"{unknown}: This member is not known. Known are: {_KNOWN[verb]}."
        assert answer.body["message"] == said
    request.refresh_from_db()
    assert request.status == Status.PENDING
    assert AuditRecord.objects.count() == 1


def test_long_name_of_an_unknown_member_is_cut_in_the_answer(api: Api) -> None:
    answer = decide(api, "approve", "req_none", REQUESTER, {"x" * 200_000: 1})

    assert answer.refusal == (400, "E4000")
    assert len(answer.content) < 500
