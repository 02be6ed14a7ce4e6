"""An action that is spelled otherwise comes under the policy it looks like, however it is
opened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import errors, services
from hitl.models import ApprovalRequest, Policy
from hitl.policies import rules
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.running import ended, question
from tests.integration.small_agents import begun, configure, said
from tests.people import APPROVER, REQUESTER, TENANT
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db(transaction=True)

SPELLINGS = ["PAY_invoice", "ｐａｙ_invoice", "рay_invoice", "p\ufe0fay_invoice", "pаy_İnvoice"]


def existing_pair(first: str, second: str) -> None:
    """Make two policies as they could be made before spellings were compared."""
    a_policy(first)
    a_policy("other")
    Policy.objects.filter(pattern="other").update(pattern=second)


# --- which policy applies ------------------------------------------------------------------


@pytest.mark.parametrize("action", SPELLINGS)
def test_asker_over_rest_cannot_spell_a_way_around_a_policy(
    redis_client: redis.Redis, action: str
) -> None:
    policy = a_policy("pay*", forbid_requester=True)
    body = {"sessionId": "s-1", "actionType": action, "requestId": "req-1"}

    opened = Api().post("/aura/hitl/requests", REQUESTER, body)
    by_asker = Api().post("/aura/hitl/approve/req-1", REQUESTER)
    by_approver = Api().post("/aura/hitl/approve/req-1", APPROVER)

    assert (opened.status, opened.data["actionType"]) == (201, action)
    assert ApprovalRequest.objects.get().policy == policy
    assert by_asker.refusal == (403, "E2001")
    assert by_approver.status == 200


@pytest.mark.parametrize("action", SPELLINGS)
def test_agent_on_redis_cannot_spell_a_way_around_a_policy(
    redis_client: redis.Redis, action: str
) -> None:
    policy = a_policy("pay*", forbid_requester=True)

    request_id = redis_agents.asks(redis_client, "s-1", actionType=action)

    request = services.find(request_id, TENANT)
    assert (request.policy, request.action_type) == (policy, action)
    with pytest.raises(errors.RequesterMayNotApprove):
        services.approve(request_id, factories.actor(REQUESTER))


class Payer(Agent):
    """Asks before it pays, in the spelling that it was prompted with."""

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        await gate.ask(task.prompt, message="Pay?")
        yield said("paid", more=False)


@pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset")
@pytest.mark.parametrize("action", [*SPELLINGS, "pa\u200by_invoice"])
async def test_built_in_agent_cannot_spell_a_way_around_a_policy(
    settings: Settings, action: str
) -> None:
    policy = await run_sync(a_policy, "pay*", forbid_requester=True)
    configure(settings, Payer)

    session, task = await begun(action)
    asked = await question()

    assert asked.policy_id == policy.pk
    with pytest.raises(errors.RequesterMayNotApprove):
        await run_sync(services.approve, asked.request_id, factories.actor(REQUESTER))
    await run_sync(services.reject, asked.request_id, factories.actor())
    await ended(session, task)


def test_match_as_written_wins_a_tie_and_says_so() -> None:
    existing_pair("pay*", "PAY*")

    matches = rules.explain(TENANT, "pay_x")

    assert [match.policy.pattern for match in matches] == ["pay*", "PAY*"]
    assert [match.why for match in matches] == [
        "as many literal characters as PAY*, and matches as written",
        "as many literal characters as pay*, which matches as written",
    ]
    assert [match.read_as for match in matches] == ["pay_x", "PAY_x".casefold()]
    applying = rules.applying(TENANT, "PAY_x")
    assert applying is not None
    assert applying.pattern == "PAY*"


def test_most_literals_win_over_a_match_as_written() -> None:
    a_policy("*")
    a_policy("P*")
    policy = a_policy("pay*")

    assert rules.applying(TENANT, "PAY_x") == policy


def test_korean_actions_come_under_their_own_policies() -> None:
    for pattern in ("결제*", "결재*", "삭제"):
        a_policy(pattern)

    actions = ["결제_1", "결재_1", "삭제", "삭재"]
    applying = rules.applying_to_each(TENANT, actions)

    names = [policy.pattern if policy else None for policy in map(applying.get, actions)]
    assert names == ["결제*", "결재*", "삭제", None]
