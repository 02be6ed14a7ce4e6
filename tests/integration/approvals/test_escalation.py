"""Requests that go to another role when nobody has decided in time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest
import redis
from django.utils import timezone

from dwp_project.jsontext import parse
from dwp_project.offload import run_sync
from hitl import errors, services, waiting
from hitl.approvals.decisions import ProposedDecision
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, Vote
from hitl.policies import rules
from hitl.states import Origin
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.polling import until
from tests.integration.threads import together
from tests.people import APPROVER, REQUESTER, TENANT
from tests.ruling import ADMIN, APPROVERS, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

OPENED_AT = datetime(2026, 1, 16, 12, tzinfo=timezone.get_current_timezone())


def at(seconds: float) -> datetime:
    return OPENED_AT + timedelta(seconds=seconds)


def an_escalating_request(**rule: Any) -> ApprovalRequest:
    """Open a request that waits 10 s for anybody and 60 s more for an admin."""
    a_policy(**{"timeout_seconds": 10, **ESCALATING, **rule})
    return factories.opened(now=OPENED_AT)


def events_of(request: ApprovalRequest) -> list[str]:
    records = AuditRecord.objects.filter(request_id=request.request_id).order_by("sequence")
    return list(records.values_list("event", flat=True))


def test_request_escalates_at_its_time_and_stays_pending(redis_client: redis.Redis) -> None:
    request = an_escalating_request()

    assert services.expire_overdue(now=at(10)) == 1

    request.refresh_from_db()
    assert (request.status, request.escalated_at) == ("pending", at(10))
    assert request.expires_at == at(70)
    assert rules.rule_of(request).required_role == "admin"
    record = AuditRecord.objects.get(event="request:escalated")
    assert (record.actor, record.actor_kind, record.channel) == ("clock", "clock", "clock")
    assert parse(record.details) == {
        "policy": {"pattern": "delete_*", "version": 1},
        "role": "admin",
        "expiresAt": int(at(70).timestamp() * 1000),
        "expiresAtExact": "2026-01-16T12:01:10.000000+00:00",
    }
    assert not OutboxEntry.objects.exists()


def test_redis_has_the_end_of_the_further_term(redis_client: redis.Redis) -> None:
    request = an_escalating_request()

    services.expire_overdue(now=at(10))

    document = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert (document["status"], document["expiresAt"]) == (
        "pending",
        int(at(70).timestamp() * 1000),
    )
    assert redis_client.get(f"hitl:signal:{request.session_id}") is None


def test_escalated_request_is_for_the_other_role(redis_client: redis.Redis) -> None:
    request = an_escalating_request()

    with pytest.raises(errors.RoleRequired):
        services.approve(request.request_id, factories.actor(), now=at(10))
    with pytest.raises(errors.RoleRequired):
        services.approve(request.request_id, factories.actor(REQUESTER), now=at(11))
    with pytest.raises(errors.RoleRequired):
        services.reject(request.request_id, factories.actor(), now=at(11))

    decided = services.approve(request.request_id, factories.actor(ADMIN), now=at(69.9))
    assert decided.status == "approved"


def test_requester_may_still_say_no_after_it_escalated(redis_client: redis.Redis) -> None:
    request = an_escalating_request()

    rejected = services.reject(request.request_id, factories.actor(REQUESTER), now=at(11))

    assert rejected.status == "rejected"


def test_admin_decides_what_escalated_to_approvers(redis_client: redis.Redis) -> None:
    request = an_escalating_request(escalate_to_role="approver")

    assert services.approve(request.request_id, factories.actor(ADMIN), now=at(11)).status == (
        "approved"
    )


def test_second_term_ends_in_expiry(redis_client: redis.Redis) -> None:
    request = an_escalating_request()
    services.expire_overdue(now=at(10))

    assert services.expire_overdue(now=at(69.9)) == 0
    assert services.expire_overdue(now=at(70)) == 1

    request.refresh_from_db()
    assert request.status == "expired"
    assert events_of(request) == ["request:opened", "request:escalated", "request:expired"]


def test_further_term_begins_when_it_escalates_however_late(redis_client: redis.Redis) -> None:
    request = an_escalating_request()

    services.expire_overdue(now=at(500))

    request.refresh_from_db()
    assert (request.status, request.expires_at) == ("pending", at(560))


def test_stale_reader_follows_what_others_have_done(redis_client: redis.Redis) -> None:
    an_escalating_request()
    read_before = ApprovalRequest.objects.get()
    services.expire_overdue(now=at(10))

    assert services.settle(read_before, now=at(20)).expires_at == at(70)
    read_before.escalated_at, read_before.expires_at = None, at(10)
    assert services.settle(read_before, now=at(71)).status == "expired"


def test_votes_stay_when_the_request_escalates(redis_client: redis.Redis) -> None:
    request = an_escalating_request(min_approvals=2)
    services.approve(request.request_id, factories.actor(), now=at(1))

    again = services.approve(request.request_id, factories.actor(), now=at(11))
    decided = services.approve(request.request_id, factories.actor(ADMIN), now=at(12))

    assert (again.status, again.approvals) == ("pending", 1)
    assert (decided.status, Vote.objects.count()) == ("approved", 2)
    with pytest.raises(errors.AlreadyDecided):
        services.approve(request.request_id, factories.actor(), now=at(13))
    assert not AuditRecord.objects.filter(event="decision:refused").exists()


def test_vote_checked_before_the_escalation_is_checked_again(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the vote, the clock gives the request to another role."""
    every: list[dict[str, Any]] = [{"min_approvals": 2}, {"min_approvals": 1}]
    for rule in every:
        pattern = f"*{rule['min_approvals']}"
        a_policy(pattern, timeout_seconds=10, **ESCALATING, **rule)
        question = factories.question(action_type=f"pay{rule['min_approvals']}")
        request, _ = services.open_request(
            question, factories.actor(REQUESTER), Origin.REST, now=OPENED_AT
        )
        check = ProposedDecision.check

        def check_too_early(
            proposed: Any, read: Any, now: datetime, records: Any, check: Any = check
        ) -> None:
            check(proposed, read, now, records)
            services.expire_overdue(now=at(10))

        monkeypatch.setattr(ProposedDecision, "check", check_too_early)
        with pytest.raises(errors.RoleRequired):
            services.approve(request.request_id, factories.actor(), now=at(9))
        monkeypatch.setattr(ProposedDecision, "check", check)

        request.refresh_from_db()
        assert (request.status, request.approvals) == ("pending", 0)
    assert not Vote.objects.exists()


@pytest.mark.parametrize("round_", range(3))
def test_request_escalates_once_however_many_processes_do_it(
    redis_client: redis.Redis, round_: int
) -> None:
    request = an_escalating_request()

    together([lambda: services.expire_overdue(now=at(10))] * 8)

    request.refresh_from_db()
    assert request.expires_at == at(70)
    assert events_of(request) == ["request:opened", "request:escalated"]


@pytest.mark.parametrize("round_", range(4))
@pytest.mark.parametrize("needed", [1, 2])
def test_decisions_that_race_escalation_are_made_before_it_or_refused(
    redis_client: redis.Redis, needed: int, round_: int
) -> None:
    request = an_escalating_request(min_approvals=needed)

    def approve(number: int) -> str:
        actor = factories.actor(APPROVERS[number])
        try:
            return services.approve(request.request_id, actor, now=at(9)).status
        except errors.RoleRequired:
            return "refused"
        except errors.AlreadyDecided:
            return "too late"

    def escalate() -> str:
        services.expire_overdue(now=at(10))
        return "clock"

    jobs: list[Any] = [lambda n=number: approve(n) for number in range(3)]
    ends = together([*jobs, escalate, escalate])

    request.refresh_from_db()
    events = events_of(request)
    if request.status == "approved":
        assert "request:escalated" not in events or request.escalated_at is None
        assert ends.count("approved") == 1
    else:
        assert (request.status, request.escalated_at) == ("pending", at(10))
        assert ends.count("approved") == 0
        after = events[events.index("request:escalated") + 1 :]
        assert "request:voted" not in after
    assert request.approvals == Vote.objects.count()


def test_adopted_request_escalates_no_longer_than_its_agent_waits(
    redis_client: redis.Redis,
) -> None:
    a_policy("*", timeout_seconds=100, **{**ESCALATING, "escalate_seconds": 3600})
    request_id = redis_agents.asks(redis_client, "s-1")
    request = services.find(request_id, TENANT)

    escalated = services.settle(request, now=request.expires_at)

    assert escalated.escalated_at is not None
    assert escalated.expires_at == request.created_at + timedelta(seconds=300)
    assert services.settle(escalated, now=escalated.expires_at).status == "expired"


def test_adopted_request_whose_agent_has_gone_does_not_escalate(redis_client: redis.Redis) -> None:
    a_policy("*", **ESCALATING)
    request_id = redis_agents.asks(redis_client, "s-1", age=301)

    assert services.find(request_id, TENANT).status == "expired"


async def test_waiter_waits_on_for_the_further_term(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    def ask() -> ApprovalRequest:
        a_policy(timeout_seconds=1, **ESCALATING)
        return factories.opened()

    request = await run_sync(ask)
    ended: list[ApprovalRequest] = []

    async def wait() -> None:
        ended.append(await waiting.until_ended(request.request_id))

    is_escalated = AuditRecord.objects.filter(event="request:escalated").exists
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await until(is_escalated, within=60)  # the waiter is the only one who looks
        assert not ended
        await run_sync(services.approve, request.request_id, factories.actor(ADMIN))
    assert [request.status for request in ended] == ["approved"]


def test_rest_refuses_the_first_role_after_it_escalated(redis_client: redis.Redis) -> None:
    a_policy(timeout_seconds=10, **ESCALATING)
    request = factories.opened(now=timezone.now() - timedelta(seconds=11))
    path = f"/aura/hitl/approve/{request.request_id}"

    assert Api().post(path, APPROVER).refusal == (403, "E2001")
    assert Api().post(path, ADMIN).status == 200
