"""Where a policy wants several people to agree, another role, or somebody else (wire.md, 3.6)."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dwp_project.jsontext import parse
from hitl import errors, services
from hitl.delivery import request_key
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, Vote
from hitl.states import ActorKind
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.threads import together
from tests.people import APPROVER, REQUESTER, Person
from tests.ruling import ADMIN, APPROVERS, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

SECOND, THIRD = APPROVERS[1], APPROVERS[2]


def decide(
    verb: str, request: ApprovalRequest, by: Person, body: Any = b"", key: str = ""
) -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return Api().post(f"/aura/hitl/{verb}/{request.request_id}", by, body, headers=headers)


def events_of(request: ApprovalRequest) -> list[str]:
    records = AuditRecord.objects.filter(request_id=request.request_id).order_by("sequence")
    return [
        str(event).removeprefix("request:") for event in records.values_list("event", flat=True)
    ]


def test_partial_approval_answers_202_with_the_votes(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()

    answer = decide("approve", request, APPROVER)

    vote = Vote.objects.get()
    assert (vote.user_id, vote.role, vote.channel) == ("approver1", "approver", "rest")
    body = answer.body
    assert body.pop("timestamp")
    assert (answer.status, body) == (
        202,
        {
            "status": "SUCCESS",
            "message": "Approval recorded, more are needed",
            "data": {
                "requestId": request.request_id,
                "sessionId": request.session_id,
                "status": "pending",
                "minApprovals": 2,
                "votes": [
                    {"userId": "approver1", "votedAt": int(vote.voted_at.timestamp() * 1000)}
                ],
            },
            "success": True,
        },
    )
    assert "x-dwp-signal" not in answer.headers
    assert not OutboxEntry.objects.exists()


def test_last_approval_answers_as_ever_and_ends_the_request(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    decide("approve", request, APPROVER)

    answer = decide("approve", request, SECOND)

    assert (answer.status, answer.body["message"]) == (200, "Request approved successfully")
    assert answer.data == {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "status": "approved",
    }
    assert answer.headers["x-dwp-signal"] == "pending"
    request.refresh_from_db()
    assert (request.decided_by, request.approvals) == ("approver2", 2)
    assert events_of(request) == ["opened", "voted", "approved"]
    members = parse(AuditRecord.objects.get(event="request:approved").details)
    assert members["policy"] == {"pattern": "delete_*", "version": 1}
    assert (members["approvals"], members["votes"]) == (2, ["approver1", "approver2"])
    late = decide("approve", request, APPROVER)
    assert (late.status, late.data) == (409, answer.data)


def test_second_vote_of_the_same_person_changes_nothing(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    first = decide("approve", request, APPROVER)

    again = decide("approve", request, APPROVER)

    assert again.facts == first.facts
    assert (Vote.objects.count(), ApprovalRequest.objects.get().approvals) == (1, 1)
    assert events_of(request) == ["opened", "voted"]


def test_same_person_on_another_channel_is_the_same_person(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    services.approve(request.request_id, factories.actor())

    operator = factories.actor(APPROVER, ActorKind.OPERATOR)
    assert services.approve(request.request_id, operator).status == "pending"


def test_partial_approval_is_replayed_under_its_idempotency_key(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    first = decide("approve", request, APPROVER, key="k")
    decide("approve", request, SECOND)

    assert first.status == 202
    assert decide("approve", request, APPROVER, key="k").facts == first.facts


def test_one_veto_rejects_whatever_votes_there_are(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=3)
    request = factories.opened()
    decide("approve", request, APPROVER)
    decide("approve", request, SECOND)

    answer = decide("reject", request, THIRD, {"reason": "no"})

    assert (answer.status, answer.data["status"]) == (200, "rejected")
    members = parse(AuditRecord.objects.get(event="request:rejected").details)
    assert (members["reason"], members["votes"]) == ("no", ["approver1", "approver2"])


def test_who_has_agreed_may_still_reject(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    decide("approve", request, APPROVER)

    assert decide("reject", request, APPROVER).data["status"] == "rejected"


def test_request_shows_its_votes_where_it_needs_several(redis_client: redis.Redis) -> None:
    plain = factories.opened()
    a_policy(min_approvals=2)
    request = factories.opened()
    decide("approve", request, APPROVER)

    document = parse(Api().get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)
    listed = Api().get("/aura/hitl/requests", REQUESTER).data["items"]
    stored = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))

    assert document["minApprovals"] == 2
    assert [vote["userId"] for vote in document["votes"]] == ["approver1"]
    assert listed[0] == document
    assert document == {name: stored[name] for name in stored if name != "dwpDeployment"}
    assert listed[1]["requestId"] == plain.request_id
    assert not {"minApprovals", "votes"} & set(listed[1])


def test_list_asks_the_database_as_often_however_many_votes_there_are(
    redis_client: redis.Redis,
) -> None:
    a_policy(min_approvals=3)
    counts = []
    for _ in range(2):
        for _ in range(3):
            request = factories.opened()
            approved_by(request, APPROVER)
            approved_by(request, SECOND)
        with CaptureQueriesContext(connection) as queries:
            listed = Api().get("/aura/hitl/requests", REQUESTER).data["items"]
        assert all(len(item["votes"]) == 2 for item in listed)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_signal_reaches_redis_after_the_keys_have_gone(redis_client: redis.Redis) -> None:
    """A term may be longer than the keys live."""
    a_policy(min_approvals=2)
    request = factories.opened()
    decide("approve", request, APPROVER)
    redis_client.flushall()

    decide("approve", request, SECOND)

    signal = json.loads(str(redis_client.get(f"hitl:signal:{request.session_id}")))
    assert signal["status"] == "approved"


def test_vote_does_not_write_over_an_end_that_redis_knows(redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    read_before = ApprovalRequest.objects.get()
    decide("reject", request, APPROVER)

    request_key.refresh(read_before)

    stored = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert stored["status"] == "rejected"


# --- races ---------------------------------------------------------------------------------


def approved_by(request: ApprovalRequest, person: Person, **when: Any) -> str:
    try:
        return services.approve(request.request_id, factories.actor(person), **when).status
    except errors.AlreadyDecided as already:
        return f"was {already.request.status}"
    except errors.RequestExpired:
        return "was expired"


@pytest.mark.parametrize("round_", range(3))
def test_of_15_who_approve_at_once_three_do(redis_client: redis.Redis, round_: int) -> None:
    a_policy(min_approvals=3)
    request = factories.opened()

    jobs = [lambda p=person: approved_by(request, p) for person in APPROVERS]
    ends = Counter(together(jobs))

    assert ends == {"pending": 2, "approved": 1, "was approved": 12}
    request.refresh_from_db()
    assert (request.status, request.approvals) == ("approved", 3)
    assert Vote.objects.count() == 3
    assert events_of(request) == ["opened", "voted", "voted", "approved"]
    assert OutboxEntry.objects.count() == 1
    assert request.decided_by == Vote.objects.latest("pk").user_id


@pytest.mark.parametrize("round_", range(3))
def test_two_last_voters_at_once_end_it_once(redis_client: redis.Redis, round_: int) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    approved_by(request, APPROVERS[0])

    ends = together([lambda p=p: approved_by(request, p) for p in (SECOND, THIRD)])  # type: ignore[misc]

    assert Counter(ends) == {"approved": 1, "was approved": 1}
    assert Vote.objects.count() == 2


@pytest.mark.parametrize("round_", range(3))
def test_same_person_many_times_at_once_has_one_vote(
    redis_client: redis.Redis, round_: int
) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()

    ends = Counter(together([lambda: approved_by(request, APPROVER)] * 8))

    assert ends == {"pending": 8}
    request.refresh_from_db()
    assert (request.approvals, Vote.objects.count()) == (1, 1)
    assert events_of(request) == ["opened", "voted"]


@pytest.mark.parametrize("round_", range(3))
def test_votes_that_race_a_veto_have_one_end(redis_client: redis.Redis, round_: int) -> None:
    a_policy(min_approvals=3)
    request = factories.opened()

    def veto() -> str:
        try:
            return services.reject(request.request_id, factories.actor(ADMIN)).status
        except errors.AlreadyDecided as already:
            return f"was {already.request.status}"

    jobs: list[Any] = [lambda p=person: approved_by(request, p) for person in APPROVERS[:4]]
    ends = together([*jobs, veto])

    request.refresh_from_db()
    assert ends.count(request.status) == 1
    assert set(ends) <= {"pending", request.status, f"was {request.status}"}
    assert Vote.objects.count() == request.approvals <= 3
    assert OutboxEntry.objects.count() == 1


@pytest.mark.parametrize("round_", range(3))
def test_votes_that_race_expiry_have_one_end(redis_client: redis.Redis, round_: int) -> None:
    a_policy(min_approvals=2)
    opened_at = timezone.now()
    request = factories.opened(timeout_seconds=10, now=opened_at)
    in_time, late = opened_at + timedelta(seconds=9), opened_at + timedelta(seconds=10)

    def expire() -> str:
        services.expire_overdue(now=late)
        return "expiry"

    jobs: list[Any] = [
        lambda p=person: approved_by(request, p, now=in_time) for person in APPROVERS[:4]
    ]
    together([*jobs, expire, expire])

    request.refresh_from_db()
    assert request.status in ("approved", "expired")
    ends = [event for event in events_of(request) if event in ("approved", "expired")]
    assert ends == [request.status]
    assert Vote.objects.count() == request.approvals <= 2
    assert OutboxEntry.objects.count() == (1 if request.status == "approved" else 0)


@pytest.mark.parametrize("spelled", ["APPROVER1", "Approver1", "ａｐｐｒｏｖｅｒ1"])
def test_one_person_votes_once_however_an_issuer_spells_them(
    redis_client: redis.Redis, spelled: str
) -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    services.approve(request.request_id, factories.actor(APPROVER))

    again = services.approve(
        request.request_id, factories.actor(Person(spelled, APPROVER.tenant_id, "approver"))
    )

    assert (again.status, again.approvals) == ("pending", 1)
