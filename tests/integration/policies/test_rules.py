"""Which policy applies to an action, and what a request keeps of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from dwp_project.jsontext import parse
from hitl import services
from hitl.models import AuditRecord
from hitl.policies import changes, rules
from hitl.policies.rules import Rule
from hitl.states import Origin
from tests import factories
from tests.integration import redis_agents
from tests.people import OTHER_TENANT, REQUESTER, TENANT
from tests.ruling import ADMIN, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)


def admin() -> Any:
    return factories.actor(ADMIN)


def test_most_literal_pattern_applies_and_explains_itself() -> None:
    for pattern in ("*", "delete_*", "*_mail", "d*_mail", "send_*"):
        a_policy(pattern)
    a_policy("delete_mail", tenant_id=OTHER_TENANT)

    matches = rules.explain(TENANT, "delete_mail")

    assert [match.policy.pattern for match in matches] == ["delete_*", "d*_mail", "*_mail", "*"]
    assert [match.applies for match in matches] == [True, False, False, False]
    assert [match.why for match in matches] == [
        "most literal characters: 7",
        "6 literal characters, delete_* has 7",
        "5 literal characters, delete_* has 7",
        "0 literal characters, delete_* has 7",
    ]
    applying = rules.applying(TENANT, "delete_mail")
    assert applying == matches[0].policy


@pytest.mark.parametrize(
    ("first", "second", "won", "lost"),
    [
        (
            "ab*",
            "a*b*",
            "as many literal characters as a*b*, and fewer *: 1, not 2",
            "as many literal characters as ab*, and more *: 2, not 1",
        ),
        (
            "*b",
            "a*",
            "as many literal characters and * as a*, and sorts before it",
            "as many literal characters and * as *b, which sorts before it",
        ),
    ],
)
def test_ties_are_explained(first: str, second: str, won: str, lost: str) -> None:
    a_policy(second)
    a_policy(first)

    matches = rules.explain(TENANT, "ab")

    assert [(match.policy.pattern, match.why) for match in matches] == [
        (first, won),
        (second, lost),
    ]


def test_nothing_applies_where_there_is_no_policy() -> None:
    a_policy("send_*")

    assert rules.explain(TENANT, "delete_mail") == []
    assert rules.applying(TENANT, "delete_mail") is None
    assert factories.opened().policy is None
    assert rules.rule_of(factories.opened()) == Rule()


def test_retired_policy_applies_to_nothing_new() -> None:
    a_policy(min_approvals=2)
    before = factories.opened()
    changes.retire(admin(), "delete_*", version=1)

    assert factories.opened().policy is None
    before.refresh_from_db()
    assert rules.rule_of(before).min_approvals == 2


def test_request_keeps_the_version_it_was_opened_under() -> None:
    policy = a_policy(min_approvals=2)
    request = factories.opened()
    changes.change(admin(), "delete_*", Rule(min_approvals=1), version=1)

    request.refresh_from_db()
    assert request.policy == policy
    assert rules.rule_of(request).version == "delete_* v1"
    assert services.approve(request.request_id, factories.actor()).status == "pending"
    opened = AuditRecord.objects.get(event="request:opened")
    assert parse(opened.details)["policy"] == {"pattern": "delete_*", "version": 1}


@pytest.mark.parametrize(
    ("wished", "ceiling", "term"), [(None, 60, 60), (30, 60, 30), (90, 60, 60), (90, None, 90)]
)
def test_term_is_the_policys_unless_the_asker_wants_less(
    redis_client: redis.Redis, wished: int | None, ceiling: int | None, term: int
) -> None:
    a_policy(timeout_seconds=ceiling)
    now = timezone.now()

    request = factories.opened(timeout_seconds=wished, now=now)

    assert request.expires_at == now + timedelta(seconds=term)


def test_same_question_again_is_known_whatever_the_policy_made_of_its_term(
    redis_client: redis.Redis,
) -> None:
    a_policy(timeout_seconds=60)
    question = factories.question("s", request_id="req-1", timeout_seconds=90)

    for is_expected in (True, False):
        _, is_new = services.open_request(question, factories.actor(REQUESTER), Origin.REST)
        assert is_new is is_expected


@pytest.mark.parametrize(("ceiling", "term"), [(60, 60), (None, 300), (3000, 300)])
def test_adopted_request_comes_under_its_policy(
    redis_client: redis.Redis, ceiling: int | None, term: int
) -> None:
    policy = a_policy("*", timeout_seconds=ceiling)
    request_id = redis_agents.asks(redis_client, "s-1", age=20)

    request = services.find(request_id, TENANT)

    assert request.policy == policy
    left = request.expires_at - request.created_at
    assert abs(left.total_seconds() - term) < 30
    members = parse(AuditRecord.objects.get(event="request:adopted").details)
    assert members["policy"] == {"pattern": "*", "version": 1}


def test_request_keeps_the_risk_it_was_opened_under() -> None:
    a_policy(risk="high", timeout_seconds=10, **ESCALATING)
    request = factories.opened()
    changes.change(admin(), "delete_*", Rule(risk="low"), version=1)

    request.refresh_from_db()
    assert (rules.rule_of(request).risk, rules.rule_of(request).is_decided_alone) == ("high", True)
    assert not rules.rule_of(factories.opened()).is_decided_alone
    request.escalated_at = request.expires_at
    assert rules.rule_of(request).risk == "high"
