"""The rejection reasons that operators pick from: who changes them, and what is offered."""

from __future__ import annotations

from typing import Any

import pytest

from dwp_project.gateway.errors import ValidationFailed
from dwp_project.jsontext import parse
from hitl import errors
from hitl.models import AuditRecord, RejectionReason
from hitl.policies import reasons
from tests import factories
from tests.integration.threads import together
from tests.people import APPROVER, OTHER_TENANT, REQUESTER, TENANT, Person
from tests.ruling import ADMIN

pytestmark = pytest.mark.django_db(transaction=True)


def admin(tenant_id: str = TENANT) -> Any:
    return factories.actor(Person("admin1", tenant_id, "admin"))


def texts() -> list[str]:
    return list(RejectionReason.objects.values_list("text", flat=True))


def test_every_change_is_recorded_with_what_was_before_and_after() -> None:
    reason = reasons.add(admin(), "Too many", 2)
    reasons.change(admin(), reason.pk, "Far too many", 1)
    reasons.change(admin(), reason.pk, "Far too many", 1)
    reasons.remove(admin(), reason.pk)

    assert texts() == []
    records = AuditRecord.objects.filter(event="reasons:changed").order_by("sequence")
    first, second = {"text": "Too many", "position": 2}, {"text": "Far too many", "position": 1}
    assert [(parse(row.details)["before"], parse(row.details)["after"]) for row in records] == [
        (None, first),
        (first, second),
        (second, None),
    ]
    assert {(row.tenant_id, row.actor) for row in records} == {(TENANT, ADMIN.user_id)}


@pytest.mark.parametrize("person", [APPROVER, REQUESTER], ids=["approver", "user"])
def test_reasons_are_changed_by_admins_only(person: Person) -> None:
    reason = reasons.add(admin(), "Too many")
    actor = factories.actor(person)

    with pytest.raises(errors.MayNotChangePolicies):
        reasons.add(actor, "Not now")
    with pytest.raises(errors.MayNotChangePolicies):
        reasons.change(actor, reason.pk, "Not now", 0)
    with pytest.raises(errors.MayNotChangePolicies):
        reasons.remove(actor, reason.pk)
    assert texts() == ["Too many"]


def test_admin_reaches_no_reason_of_another_tenant() -> None:
    reason = reasons.add(admin(OTHER_TENANT), "Too many")

    with pytest.raises(errors.ReasonNotFound):
        reasons.change(admin(), reason.pk, "Not now", 0)
    with pytest.raises(errors.ReasonNotFound):
        reasons.remove(admin(), reason.pk)
    assert texts() == ["Too many"]


def test_same_text_is_a_reason_once_in_a_tenant() -> None:
    first, second = reasons.add(admin(), "Too many"), reasons.add(admin(), "Not now")
    reasons.add(admin(OTHER_TENANT), "Too many")

    with pytest.raises(errors.ReasonExists):
        reasons.add(admin(), first.text)
    with pytest.raises(errors.ReasonExists):
        reasons.change(admin(), second.pk, first.text, 0)


def test_of_many_who_add_the_same_reason_at_once_one_does() -> None:
    def add() -> str:
        try:
            reasons.add(admin(), "Too many")
        except errors.ReasonExists:
            return "exists"
        return "added"

    assert sorted(together([add] * 4)) == ["added", "exists", "exists", "exists"]


@pytest.mark.parametrize(
    ("text", "position"),
    [("", 0), ("  ", 0), ("a\nb", 0), ("x" * 501, 0), ("fine", -1), ("fine", 32_768)],
)
def test_reason_that_no_list_can_show_is_refused(text: str, position: int) -> None:
    with pytest.raises(ValidationFailed):
        reasons.add(admin(), text, position)

    assert texts() == []


def test_longest_reason_in_the_last_place_is_taken() -> None:
    reasons.add(admin(), "x" * 500, 32_767)

    assert texts() == ["x" * 500]


def test_form_offers_the_reasons_that_every_tenant_of_it_has() -> None:
    for text, position in (("Not now", 2), ("Too many", 1)):
        reasons.add(admin(), text, position)
    reasons.add(admin(OTHER_TENANT), "Too many")
    reasons.add(admin(OTHER_TENANT), "Secret")

    assert reasons.offered([TENANT]) == ["Too many", "Not now"]
    assert reasons.offered([TENANT, OTHER_TENANT]) == ["Too many"]


@pytest.mark.parametrize(
    ("preset", "written", "reason"),
    [
        ("Too many", "", "Too many"),
        ("Too many", "ask again in May", "Too many – ask again in May"),
        ("", "ask again in May", "ask again in May"),
        ("Secret", "ask again in May", "ask again in May"),
        ("Secret", "", ""),
    ],
)
def test_form_gives_a_preset_of_its_tenants_a_text_or_both(
    preset: str, written: str, reason: str
) -> None:
    reasons.add(admin(), "Too many")
    reasons.add(admin(OTHER_TENANT), "Secret")

    assert reasons.chosen([TENANT], preset, written) == reason
