"""Many who decide, open or expire the same request at the same moment, in real threads."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from hitl import services
from hitl.errors import AlreadyDecided, RequestExpired, RequestIdTaken, SessionNotFound
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, SessionOwner
from hitl.states import Origin
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.threads import together
from tests.people import APPROVER, OUTSIDER, REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)

DECIDERS = 32


def test_one_of_32_decisions_stands(redis_client: redis.Redis) -> None:
    request = factories.opened()

    def decide(number: int) -> Answer:
        verb = ("approve", "reject")[number % 2]
        body = {"reason": f"no {number}"} if verb == "reject" else {}
        return Api().post(f"/aura/hitl/{verb}/{request.request_id}", APPROVER, body)

    with redis_client.pubsub() as ear:
        ear.subscribe(f"hitl:channel:{request.session_id}")
        ear.get_message(timeout=5)
        answers = together([lambda n=n: decide(n) for n in range(DECIDERS)])  # type: ignore[misc]
        published = [ear.get_message(timeout=3), ear.get_message(timeout=0.3)]

    assert Counter(answer.status for answer in answers) == {200: 1, 409: DECIDERS - 1}
    [stands] = [answer.data for answer in answers if answer.status == 200]
    assert all(answer.data == stands for answer in answers)
    assert all(answer.body["success"] is True for answer in answers)
    request.refresh_from_db()
    assert (request.status, request.reason) == (stands["status"], stands.get("reason", ""))
    events = AuditRecord.objects.filter(request_id=request.request_id).order_by("sequence")
    assert [record.event for record in events] == ["request:opened", f"request:{stands['status']}"]
    assert OutboxEntry.objects.count() == 1
    assert published[0] is not None
    assert published[1] is None


@pytest.mark.parametrize("round_", range(4))
def test_decision_that_races_expiry_has_one_end(redis_client: redis.Redis, round_: int) -> None:
    opened_at = timezone.now()
    request = factories.opened(timeout_seconds=10, now=opened_at)
    in_time, late = opened_at + timedelta(seconds=9), opened_at + timedelta(seconds=10)

    def approve() -> str:
        try:
            return services.approve(request.request_id, factories.actor(), now=in_time).status
        except RequestExpired:
            return "expired"
        except AlreadyDecided as already:
            return already.request.status

    def expire() -> str:
        services.expire_overdue(now=late)
        return ApprovalRequest.objects.get().status

    ends = set(together([approve, expire] * 6))

    [end] = ends
    request.refresh_from_db()
    assert request.status == end
    records = AuditRecord.objects.exclude(event="request:opened")
    assert [record.event for record in records] == [f"request:{end}"]
    assert OutboxEntry.objects.count() == (1 if end == "approved" else 0)


def test_overdue_request_expires_once(redis_client: redis.Redis) -> None:
    long_ago = timezone.now() - timedelta(seconds=400)
    requests = [factories.opened(now=long_ago) for _ in range(10)]

    together([services.expire_overdue] * 6)

    assert set(ApprovalRequest.objects.values_list("status", flat=True)) == {"expired"}
    records = AuditRecord.objects.filter(event="request:expired")
    assert Counter(records.values_list("request_id", flat=True)) == {
        request.request_id: 1 for request in requests
    }
    assert {(record.actor, record.actor_kind, record.channel) for record in records} == {
        ("clock", "clock", "clock")
    }
    assert not OutboxEntry.objects.exists()


def test_same_opening_at_once_makes_one_request(redis_client: redis.Redis) -> None:
    question = factories.question("session-a", request_id="req-a")

    def open_it() -> bool:
        return services.open_request(question, factories.actor(REQUESTER), Origin.REST)[1]

    assert sorted(together([open_it] * 12)) == [False] * 11 + [True]
    assert AuditRecord.objects.filter(event="request:opened").count() == 1


def test_one_id_opened_in_many_sessions_at_once_is_one_request(redis_client: redis.Redis) -> None:
    def open_in(number: int) -> str:
        question = factories.question(f"session-{number}", request_id="req-a")
        try:
            services.open_request(question, factories.actor(REQUESTER), Origin.REST)
        except RequestIdTaken:
            return "taken"
        return "opened"

    ends = together([lambda n=n: open_in(n) for n in range(12)])  # type: ignore[misc]

    assert Counter(ends) == {"opened": 1, "taken": 11}
    assert SessionOwner.objects.count() == 1


def test_session_that_two_tenants_want_at_once_has_one_owner(redis_client: redis.Redis) -> None:
    def open_as(number: int) -> str:
        actor = factories.actor((REQUESTER, OUTSIDER)[number % 2])
        try:
            services.open_request(factories.question("wanted"), actor, Origin.REST)
        except SessionNotFound:
            return "refused"
        return actor.tenant_id

    ends = Counter(together([lambda n=n: open_as(n) for n in range(12)]))  # type: ignore[misc]

    owner = SessionOwner.objects.get()
    assert ends == {owner.tenant_id: 6, "refused": 6}
    assert AuditRecord.objects.filter(event="session:refused").count() == 6


def test_id_that_two_tenants_want_at_once_is_of_one_and_audited_for_the_other(
    redis_client: redis.Redis,
) -> None:
    def open_as(number: int) -> str:
        actor = factories.actor((REQUESTER, OUTSIDER)[number % 2])
        question = factories.question(f"session-{number}", request_id="req-a")
        try:
            services.open_request(question, actor, Origin.REST)
        except RequestIdTaken:
            return "taken"
        return actor.tenant_id

    ends = Counter(together([lambda n=n: open_as(n) for n in range(12)]))  # type: ignore[misc]

    request = ApprovalRequest.objects.get()
    assert ends == {request.tenant_id: 1, "taken": 11}
    refused = AuditRecord.objects.filter(event="request:refused")
    # Those of the same tenant have met an id of their own.
    assert refused.count() == 6
    assert not refused.filter(tenant_id=request.tenant_id).exists()
