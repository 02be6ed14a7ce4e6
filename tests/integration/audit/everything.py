"""Requests, policies and people that have been through everything there is."""

from __future__ import annotations

from datetime import timedelta

import redis
from django.contrib.auth.models import User
from django.utils import timezone

from dwp_project.gateway.models import Membership
from hitl import services
from hitl.actors import Actor
from hitl.approvals.opening import Question
from hitl.models import ApprovalRequest
from hitl.policies import changes
from hitl.policies.rules import Rule, rule_as_of
from hitl.states import ActorKind, Channel, Origin
from tests import factories, ruling
from tests.integration import redis_agents
from tests.people import APPROVER, OUTSIDER, REQUESTER, TENANT, Person

_ADMIN = factories.actor(ruling.ADMIN)


def ask(request_id: str, action: str = "read_mail", *, minutes: float = 0.0) -> ApprovalRequest:
    """Open a request that is `minutes` old."""
    question = factories.question(
        f"session-{request_id}", request_id=request_id, action_type=action, timeout_seconds=60
    )
    now = timezone.now() - timedelta(minutes=minutes)
    return services.open_request(question, factories.actor(REQUESTER), Origin.REST, now=now)[0]


def happens(redis_client: redis.Redis) -> None:
    """Have every state of a request, a policy, a membership and an account come about."""
    _change_policies()
    _change_people()
    _decide_requests()
    redis_agents.asks(redis_client, "session-adopted", "adopted", agentId="agent-7")
    redis_agents.asks(redis_client, "session-answered", "answered", message="May I?")
    services.find("adopted", TENANT)
    services.reject("answered", factories.actor(APPROVER), reason="Not today.")


def _change_policies() -> None:
    two = changes.create(_ADMIN, "delete_*", Rule(min_approvals=3))
    changes.change(_ADMIN, "delete_*", Rule(min_approvals=2), version=two.version)
    ruling.a_policy("pay_*", risk="high", **ruling.ESCALATING)
    retired = ruling.a_policy("send_*", timeout_seconds=30, reason_required=True)
    retired = changes.retire(_ADMIN, "send_*", version=retired.version)
    changes.create(_ADMIN, "send_*", rule_as_of(retired))
    gone = ruling.a_policy("merge_*", required_role="admin")
    changes.retire(_ADMIN, "merge_*", version=gone.version)


def _change_people() -> None:
    desk = User.objects.create_user("desk", password="right", is_staff=True)
    Membership.objects.create(user=desk, tenant_id=TENANT, role="viewer").delete()
    member = Membership.objects.create(user=desk, tenant_id=TENANT, role="viewer")
    member.role = "approver"
    member.save()
    desk.is_superuser = True
    desk.save()
    desk.username = "desk2"
    desk.save()
    User.objects.create_user("root", password="right", is_superuser=True, is_staff=True)
    leaver = User.objects.create_user("leaver", password="right")
    Membership.objects.create(user=leaver, tenant_id=TENANT, role="viewer")
    leaver.is_active = False
    leaver.save()
    gone = User.objects.create_user("gone", password="right")
    Membership.objects.create(user=gone, tenant_id=TENANT, role="admin")
    gone.delete()


def _decide_requests() -> None:
    for name in ("pending", "approved", "rejected", "cancelled"):
        ask(name)
    services.approve("approved", factories.actor(APPROVER))
    services.reject("rejected", factories.actor(APPROVER), reason="거절")
    services.cancel("cancelled", factories.actor(REQUESTER))
    ask("expired", minutes=10)
    ask("escalated", "pay_bill", minutes=1.5)
    ask("decided-late", "pay_bill", minutes=1.5)
    ask("expired-late", "pay_bill", minutes=10)
    services.expire_overdue(now=timezone.now() - timedelta(minutes=5))
    services.expire_overdue()
    services.approve("decided-late", factories.actor(ruling.ADMIN))
    for name in ("one-vote", "two-votes", "vote-and-no"):
        ask(name, "delete_mail")
        services.approve(name, factories.actor(ruling.APPROVERS[0]))
    services.approve("two-votes", factories.actor(ruling.APPROVERS[1]))
    services.reject("vote-and-no", factories.actor(ruling.APPROVERS[1]))
    agent = Actor("user123", TENANT, ActorKind.AGENT, Channel.STREAM)
    question = Question("session-agent", "send_mail", request_id="from-agent", agent_id="demo")
    services.open_request(question, agent, Origin.AGENT)
    for number in range(2):
        question = factories.question("session-many", request_id=f"many-{number}")
        services.open_request(question, factories.actor(REQUESTER), Origin.REST)
    factories.opened("session-foreign", by=OUTSIDER, request_id="foreign")
    services.approve("foreign", factories.actor(Person("other", OUTSIDER.tenant_id, "approver")))
