"""Policies: which applies, how they come, change and go, and who may do that."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from dwp_project.jsontext import parse
from hitl import errors, services
from hitl.models import AuditRecord, Policy
from hitl.policies import changes, rules
from hitl.policies.rules import Rule
from hitl.states import Origin
from tests import factories
from tests.integration import redis_agents
from tests.integration.threads import together
from tests.people import APPROVER, OTHER_TENANT, REQUESTER, TENANT
from tests.ruling import ADMIN, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)


def admin() -> Any:
    return factories.actor(ADMIN)


def details_of(event: str) -> dict[str, Any]:
    found: dict[str, Any] = parse(AuditRecord.objects.get(event=event).details)
    return found


def test_most_literal_pattern_applies_and_explains_itself() -> None:
    for pattern in ("*", "delete_*", "*_mail", "d*_mail", "send_*"):
        a_policy(pattern)
    a_policy("delete_mail", tenant_id=OTHER_TENANT)

    judged = rules.explain(TENANT, "delete_mail")

    assert [found.policy.pattern for found in judged] == ["delete_*", "d*_mail", "*_mail", "*"]
    assert [found.applies for found in judged] == [True, False, False, False]
    assert [found.why for found in judged] == [
        "most literal characters: 7",
        "6 literal characters, delete_* has 7",
        "5 literal characters, delete_* has 7",
        "0 literal characters, delete_* has 7",
    ]
    applying = rules.applying(TENANT, "delete_mail")
    assert applying == judged[0].policy


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

    judged = rules.explain(TENANT, "ab")

    assert [(found.policy.pattern, found.why) for found in judged] == [(first, won), (second, lost)]


def test_nothing_applies_where_there_is_no_policy() -> None:
    a_policy("send_*")

    assert rules.explain(TENANT, "delete_mail") == []
    assert rules.applying(TENANT, "delete_mail") is None
    assert factories.opened().policy is None
    assert rules.rule_of(factories.opened()) == Rule()


def test_policy_is_recorded_from_its_first_version_to_its_last() -> None:
    made = changes.create(admin(), "delete_*", Rule(min_approvals=2))
    changed = changes.change(admin(), "delete_*", Rule(min_approvals=3), version=1)
    retired = changes.retire(admin(), "delete_*", version=2)
    back = changes.create(admin(), "delete_*", Rule(reason_required=True))

    assert [policy.version for policy in (made, changed, retired, back)] == [1, 2, 3, 4]
    assert Policy.objects.get(is_current=True) == back
    assert [policy.min_approvals for policy in Policy.objects.order_by("version")] == [2, 3, 3, 1]
    told = details_of("policy:changed")
    assert told["policy"] == {"pattern": "delete_*", "version": 2}
    assert (told["before"]["min_approvals"], told["after"]["min_approvals"]) == (2, 3)
    assert details_of("policy:retired")["after"] is None
    created = AuditRecord.objects.filter(event="policy:created").order_by("sequence")
    assert [parse(record.details)["before"] for record in created] == [None, None]
    assert {(record.tenant_id, record.actor) for record in created} == {(TENANT, "admin1")}


def test_retired_policy_applies_to_nothing_new() -> None:
    a_policy(min_approvals=2)
    before = factories.opened()
    changes.retire(admin(), "delete_*", version=1)

    assert factories.opened().policy is None
    before.refresh_from_db()
    assert rules.rule_of(before).min_approvals == 2


def test_request_keeps_the_version_it_was_opened_under() -> None:
    made = a_policy(min_approvals=2)
    request = factories.opened()
    changes.change(admin(), "delete_*", Rule(min_approvals=1), version=1)

    request.refresh_from_db()
    assert request.policy == made
    assert rules.rule_of(request).version == "delete_* v1"
    assert services.approve(request.request_id, factories.actor()).status == "pending"
    opened = AuditRecord.objects.get(event="request:opened")
    assert parse(opened.details)["policy"] == {"pattern": "delete_*", "version": 1}


def test_change_that_changes_nothing_makes_no_version() -> None:
    a_policy(min_approvals=2)

    changes.change(admin(), "delete_*", Rule(min_approvals=2, version="x"), version=1)

    assert Policy.objects.get().version == 1
    assert not AuditRecord.objects.filter(event="policy:changed").exists()


def test_change_of_an_older_version_is_refused() -> None:
    a_policy()
    changes.change(admin(), "delete_*", Rule(min_approvals=2), version=1)

    with pytest.raises(errors.PolicyOutdated):
        changes.change(admin(), "delete_*", Rule(min_approvals=3), version=1)
    with pytest.raises(errors.PolicyOutdated):
        changes.retire(admin(), "delete_*", version=1)

    assert Policy.objects.get(is_current=True).min_approvals == 2


def test_pattern_has_one_policy() -> None:
    a_policy()

    with pytest.raises(errors.PolicyExists):
        a_policy()


@pytest.mark.parametrize("person", [APPROVER, REQUESTER], ids=["approver", "user"])
def test_policies_are_for_admins_only(person: Any) -> None:
    a_policy()
    actor = factories.actor(person)

    with pytest.raises(errors.MayNotChangePolicies):
        changes.create(actor, "send_*", Rule())
    with pytest.raises(errors.MayNotChangePolicies):
        changes.change(actor, "delete_*", Rule(min_approvals=2), version=1)
    with pytest.raises(errors.MayNotChangePolicies):
        changes.retire(actor, "delete_*", version=1)
    assert Policy.objects.get().version == 1


def test_admin_reaches_no_policy_of_another_tenant() -> None:
    a_policy(tenant_id=OTHER_TENANT)

    with pytest.raises(errors.PolicyOutdated):
        changes.change(admin(), "delete_*", Rule(min_approvals=2), version=1)
    with pytest.raises(errors.PolicyOutdated):
        changes.retire(admin(), "delete_*", version=1)


MONTH = 30 * 24 * 3600


@pytest.mark.parametrize(
    ("pattern", "asked", "field"),
    [
        ("", {}, "pattern"),
        ("x" * 129, {}, "pattern"),
        ("a\nb", {}, "pattern"),
        ("a\u202eb", {}, "pattern"),
        (" delete_*", {}, "pattern"),
        ("delete_**", {}, "pattern"),
        ("*", {"min_approvals": 0}, "min_approvals"),
        ("*", {"min_approvals": 6}, "min_approvals"),
        ("*", {"required_role": "viewer"}, "required_role"),
        ("*", {"timeout_seconds": 0}, "timeout_seconds"),
        ("*", {"timeout_seconds": MONTH + 1}, "timeout_seconds"),
        ("*", {"on_timeout": "approve"}, "on_timeout"),
        ("*", {"on_timeout": "escalate", "escalate_seconds": 60}, "escalate_to_role"),
        ("*", {"on_timeout": "escalate", "escalate_to_role": "admin"}, "escalate_seconds"),
        ("*", {**ESCALATING, "escalate_seconds": MONTH + 1}, "escalate_seconds"),
        ("*", {**ESCALATING, "escalate_to_role": "viewer"}, "escalate_to_role"),
        (
            "*",
            {**ESCALATING, "required_role": "admin", "escalate_to_role": "approver"},
            "escalate_to_role",
        ),
        ("*", {"escalate_to_role": "admin"}, "escalate_to_role"),
        ("*", {"escalate_seconds": 60}, "escalate_seconds"),
    ],
)
def test_policy_that_means_nothing_is_refused(
    pattern: str, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidPolicy) as refused:
        a_policy(pattern, **asked)

    assert refused.value.field == field
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("x" * 128, {}),
        ("*", {"min_approvals": 5, "timeout_seconds": MONTH, "required_role": "admin"}),
        ("메일 삭제*", {**ESCALATING, "escalate_seconds": MONTH, "required_role": "approver"}),
    ],
)
def test_policy_may_say(pattern: str, asked: dict[str, Any]) -> None:
    assert rules.rule_as_of(a_policy(pattern, **asked)).timeout_seconds == asked.get(
        "timeout_seconds"
    )


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
    asked = factories.question("s", request_id="req-1", timeout_seconds=90)

    for is_expected in (True, False):
        _, is_new = services.open_request(asked, factories.actor(REQUESTER), Origin.REST)
        assert is_new is is_expected


@pytest.mark.parametrize(("ceiling", "term"), [(60, 60), (None, 300), (3000, 300)])
def test_adopted_request_comes_under_its_policy(
    redis_client: redis.Redis, ceiling: int | None, term: int
) -> None:
    made = a_policy("*", timeout_seconds=ceiling)
    request_id = redis_agents.asks(redis_client, "s-1", age=20)

    request = services.find(request_id, TENANT)

    assert request.policy == made
    left = request.expires_at - request.created_at
    assert abs(left.total_seconds() - term) < 30
    told = parse(AuditRecord.objects.get(event="request:adopted").details)
    assert told["policy"] == {"pattern": "*", "version": 1}


@pytest.mark.parametrize("round_", range(3))
def test_of_many_who_change_a_policy_at_once_one_does(round_: int) -> None:
    a_policy()

    def change(number: int) -> str:
        try:
            rule = Rule(timeout_seconds=number + 1)
            changes.change(admin(), "delete_*", rule, version=1)
        except errors.PolicyOutdated:
            return "outdated"
        return "changed"

    ends = together([lambda n=n: change(n) for n in range(8)])  # type: ignore[misc]

    assert Counter(ends) == {"changed": 1, "outdated": 7}
    assert [policy.version for policy in Policy.objects.order_by("version")] == [1, 2]
    assert AuditRecord.objects.filter(event="policy:changed").count() == 1


@pytest.mark.parametrize("is_retired", [False, True])
def test_of_many_who_make_a_policy_at_once_one_does(is_retired: bool) -> None:
    if is_retired:
        a_policy()
        changes.retire(admin(), "delete_*", version=1)

    def create() -> str:
        try:
            a_policy(min_approvals=2)
        except errors.PolicyExists:
            return "exists"
        return "made"

    assert Counter(together([create] * 8)) == {"made": 1, "exists": 7}
    assert Policy.objects.filter(is_current=True, is_retired=False).count() == 1
