"""An action that is spelled otherwise comes under the policy it looks like, however it is opened,
and two policies of one tenant are never the same in different spellings."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from django.core.checks import run_checks
from django.utils import translation
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import errors, services
from hitl.audit import compare_policies
from hitl.models import ApprovalRequest, AuditRecord, Policy
from hitl.policies import changes, rules
from hitl.policies.rules import Rule
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.running import ended, question
from tests.integration.small_agents import begun, configure, said
from tests.integration.threads import together
from tests.people import APPROVER, OTHER_TENANT, REQUESTER, TENANT
from tests.ruling import ADMIN, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

SPELLINGS = ["PAY_invoice", "ｐａｙ_invoice", "рay_invoice", "p\ufe0fay_invoice", "pаy_İnvoice"]
PAIRS = [("pay*", "PAY*"), ("pay*", "рay*"), ("pay_*", "ｐａｙ＿*"), ("læs*", "laes*")]


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


# --- two of the same -----------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_new_policy_in_another_spelling_of_a_current_one_is_refused(
    first: str, second: str
) -> None:
    for one, other in ((first, second), (second, first)):
        a_policy(one)
        with pytest.raises(errors.InvalidPolicy) as refused:
            a_policy(other)

        assert refused.value.field == "pattern"
        assert one in str(refused.value.message)
        assert not Policy.objects.filter(pattern=other).exists()
        changes.retire(factories.actor(ADMIN), one, version=1)
        Policy.objects.all().delete()


def test_refusal_is_in_korean_too() -> None:
    a_policy("pay*")

    with translation.override("ko"), pytest.raises(errors.InvalidPolicy) as refused:
        a_policy("PAY*")

    assert str(refused.value.message).startswith("정책 pay*")


def test_retired_policy_does_not_come_back_beside_another_spelling_of_it() -> None:
    a_policy("pay*")
    changes.retire(factories.actor(ADMIN), "pay*", version=1)
    a_policy("PAY*")

    with pytest.raises(errors.InvalidPolicy):
        a_policy("pay*")

    assert [str(policy) for policy in Policy.objects.current()] == ["PAY* v1"]


def test_another_tenant_and_a_retired_policy_are_no_obstacle() -> None:
    a_policy("pay*", tenant_id=OTHER_TENANT)
    a_policy("рay*")
    changes.retire(factories.actor(ADMIN), "рay*", version=1)

    assert a_policy("PAY*").version == 1
    assert a_policy("v1").pattern == "v1"
    assert a_policy("vl").pattern == "vl"


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("was_retired", [False, True])
def test_of_many_who_make_the_same_in_different_spellings_at_once_one_does(
    round_: int, was_retired: bool
) -> None:
    patterns = ["pay*", "PAY*", "рay*", "ｐａｙ*", "Pay*", "pаy*", "paу*", "PаY*"]
    if was_retired:
        for pattern in patterns:
            a_policy(pattern)
            changes.retire(factories.actor(ADMIN), pattern, version=1)

    def create(pattern: str) -> str:
        try:
            a_policy(pattern)
        except errors.InvalidPolicy:
            return "refused"
        return "made"

    ends = together([lambda p=pattern: create(p) for pattern in patterns])  # type: ignore[misc]

    assert Counter(ends) == {"made": 1, "refused": len(patterns) - 1}
    assert Policy.objects.current().count() == 1


def test_existing_pair_goes_on_working() -> None:
    existing_pair("pay*", "PAY*")
    admin = factories.actor(ADMIN)

    for pattern in ("pay*", "PAY*"):
        changes.change(admin, pattern, Rule(min_approvals=2), version=1)
        changes.retire(admin, pattern, version=2)

    assert not Policy.objects.current().exists()


def test_policies_of_each_spelling_are_compared_with_the_audit_on_their_own() -> None:
    a_policy("pay*")
    changes.retire(factories.actor(ADMIN), "pay*", version=1)
    a_policy("PAY*", min_approvals=2)

    assert compare_policies.compare_policies(TENANT).differences == []
    Policy.objects.filter(pattern="PAY*").update(pattern="Pay*")
    assert len(compare_policies.compare_policies(TENANT).differences) == 2


# --- the check -----------------------------------------------------------------------------


def warnings() -> list[Any]:
    return [each for each in run_checks(databases=["default"]) if each.id == "hitl.W004"]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_check_names_an_existing_pair(first: str, second: str) -> None:
    existing_pair(first, second)

    [warning] = warnings()

    assert TENANT in warning.msg
    assert ascii(first) in warning.msg
    assert ascii(second) in warning.msg


def test_check_is_silent_about_policies_that_differ() -> None:
    a_policy("pay*")
    a_policy("pay_*")
    a_policy("v1")
    a_policy("vl")
    a_policy("PAY*", tenant_id=OTHER_TENANT)
    existing_pair("send*", "SEND*")
    changes.retire(factories.actor(ADMIN), "send*", version=1)

    assert warnings() == []
    assert AuditRecord.objects.filter(event="policy:retired").exists()
