"""How policies come, change and go, and who may do that."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dwp_project.jsontext import parse
from hitl import errors
from hitl.models import AuditRecord, Policy
from hitl.policies import changes, rules
from hitl.policies.rules import Rule
from tests import factories
from tests.integration.threads import together
from tests.people import APPROVER, OTHER_TENANT, REQUESTER, TENANT
from tests.ruling import ADMIN, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

MONTH = 30 * 24 * 3600


def admin() -> Any:
    return factories.actor(ADMIN)


def details_of(event: str) -> dict[str, Any]:
    members: dict[str, Any] = parse(AuditRecord.objects.get(event=event).details)
    return members


def test_policy_is_recorded_from_its_first_version_to_its_last() -> None:
    first = changes.create(admin(), "delete_*", Rule(min_approvals=2))
    changed = changes.change(admin(), "delete_*", Rule(min_approvals=3), version=1)
    retired = changes.retire(admin(), "delete_*", version=2)
    back = changes.create(admin(), "delete_*", Rule(reason_required=True))

    assert [policy.version for policy in (first, changed, retired, back)] == [1, 2, 3, 4]
    assert Policy.objects.get(is_current=True) == back
    assert [policy.min_approvals for policy in Policy.objects.order_by("version")] == [2, 3, 3, 1]
    members = details_of("policy:changed")
    assert members["policy"] == {"pattern": "delete_*", "version": 2}
    assert (members["before"]["min_approvals"], members["after"]["min_approvals"]) == (2, 3)
    assert details_of("policy:retired")["after"] is None
    created = AuditRecord.objects.filter(event="policy:created").order_by("sequence")
    assert [parse(record.details)["before"] for record in created] == [None, None]
    assert {(record.tenant_id, record.actor) for record in created} == {(TENANT, "admin1")}


def test_risk_is_recorded_where_there_is_one() -> None:
    changes.create(admin(), "delete_*", Rule())
    changes.change(admin(), "delete_*", Rule(risk="high"), version=1)

    assert [policy.risk for policy in Policy.objects.order_by("version")] == ["", "high"]
    members = details_of("policy:changed")
    assert members["after"]["risk"] == "high"
    # As in the records of before there were risks.
    assert "risk" not in members["before"]
    assert "risk" not in details_of("policy:created")["after"]


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


@pytest.mark.parametrize(
    ("pattern", "rule", "field"),
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
        ("*", {"risk": "extreme"}, "risk"),
    ],
)
def test_policy_that_means_nothing_is_refused(
    pattern: str, rule: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidPolicy) as refused:
        a_policy(pattern, **rule)

    assert refused.value.field == field
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("x" * 128, {}),
        ("*", {"min_approvals": 5, "timeout_seconds": MONTH, "required_role": "admin"}),
        ("메일 삭제*", {**ESCALATING, "escalate_seconds": MONTH, "required_role": "approver"}),
    ],
)
def test_policy_at_the_bounds_is_taken(pattern: str, rule: dict[str, Any]) -> None:
    assert rules.rule_as_of(a_policy(pattern, **rule)).timeout_seconds == rule.get(
        "timeout_seconds"
    )


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
