"""Policies and rejection reasons on the operators' pages: who sees them, who changes them."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dwp_project.gateway.models import Membership
from dwp_project.jsontext import parse
from hitl.models import AuditRecord, Policy, RejectionReason
from hitl.policies import changes, reasons
from hitl.policies.rules import Rule
from tests import factories
from tests.integration.calls import browser
from tests.people import OTHER_TENANT, TENANT, Person
from tests.ruling import ADMIN, a_policy

pytestmark = pytest.mark.django_db

POLICIES = "/admin/hitl/policy/"
REASONS = "/admin/hitl/rejectionreason/"
FORM = {"tenant_id": TENANT, "pattern": "delete_*", "min_approvals": "2", "on_timeout": "expire"}
EVERY = [POLICIES, REASONS]


def signed_in(role: str | None = "admin", *, is_superuser: bool = False) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


def page(client: Client, path: str, data: dict[str, str] | None = None) -> str:
    """Send a form and return the text of the page that follows, or of the page itself."""
    answer = client.post(path, data, follow=True) if data is not None else client.get(path)
    assert answer.status_code == 200, path
    return html.unescape(answer.content.decode())


def address(row: Policy | RejectionReason) -> str:
    return f"{POLICIES if isinstance(row, Policy) else REASONS}{row.pk}/change/"


def a_reason(text: str = "Not before the audit", tenant_id: str = TENANT) -> RejectionReason:
    return reasons.add(factories.actor(Person("admin1", tenant_id, "admin")), text)


def details_of(event: str) -> dict[str, Any]:
    details: dict[str, Any] = parse(AuditRecord.objects.filter(event=event).latest("id").details)
    return details


# --- policies ------------------------------------------------------------------------------


def test_admin_adds_a_policy_and_is_recorded() -> None:
    client = signed_in()

    page(client, f"{POLICIES}add/", FORM)

    policy = Policy.objects.get()
    assert (policy.tenant_id, policy.pattern, policy.version, policy.min_approvals) == (
        TENANT,
        "delete_*",
        1,
        2,
    )
    assert policy.created_by == "desk"
    record = AuditRecord.objects.get(event="policy:created")
    assert (record.actor, record.actor_kind, record.channel) == ("desk", "operator", "admin")
    assert record.source_address == "127.0.0.1"


def test_policy_in_another_spelling_is_refused_on_its_field() -> None:
    a_policy("delete_*")

    shown = page(signed_in(), f"{POLICIES}add/", {**FORM, "pattern": "DELETE_*"})

    assert "The policy delete_* has this pattern in another spelling. Change that one." in shown
    assert [str(policy) for policy in Policy.objects.all()] == ["delete_* v1"]


@pytest.mark.parametrize("is_new", [True, False])
def test_policy_that_nobody_can_satisfy_is_saved_and_says_so(is_new: bool) -> None:
    client = signed_in()
    path = f"{POLICIES}add/" if is_new else address(a_policy())
    form = {**FORM, "required_role": "admin", "min_approvals": "5"}

    shown = page(client, path, form)

    assert "Nobody can satisfy this policy: 5 admins are needed, tenant1 has 1." in shown
    assert Policy.objects.get(is_current=True).min_approvals == 5


def test_policy_that_can_be_satisfied_is_saved_without_a_warning() -> None:
    client = signed_in()

    shown = page(client, f"{POLICIES}add/", {**FORM, "min_approvals": "1"})

    assert 'class="warning"' not in shown


def test_pattern_that_imitates_is_marked_in_the_list() -> None:
    for pattern in ("рay*", "결제*", "Löschen"):
        a_policy(pattern)

    shown = page(signed_in(), POLICIES)

    assert shown.count("unusual spelling") == 1
    assert "р (U+0440) ≈ p" in shown


def test_admin_changes_a_policy_by_making_its_next_version() -> None:
    first = a_policy(min_approvals=3)
    client = signed_in()

    page(client, address(first), {**FORM, "reason_required": "on"})

    second = Policy.objects.get(is_current=True)
    assert (second.version, second.min_approvals, second.reason_required) == (2, 2, True)
    first.refresh_from_db()
    assert (first.min_approvals, first.is_current) == (3, False)
    listed = page(client, POLICIES)
    assert address(second) in listed
    assert address(first) not in listed
    shown = page(client, address(second))
    assert f'href="{address(first)}"' in shown
    old = page(client, address(first))
    assert 'name="min_approvals"' not in old
    assert 'name="_retire"' not in old


def test_admin_gives_an_action_a_risk_and_finds_it_in_the_list() -> None:
    client = signed_in()
    page(client, f"{POLICIES}add/", {**FORM, "risk": "high"})
    page(client, f"{POLICIES}add/", {**FORM, "pattern": "read_*", "risk": "low"})

    assert Policy.objects.get(pattern="delete_*").risk == "high"
    listed = page(client, f"{POLICIES}?risk=high")
    assert "delete_*" in listed
    assert "read_*" not in listed
    assert '<td class="field-risk">high risk</td>' in listed


def test_change_keeps_tenant_and_pattern() -> None:
    first = a_policy()
    Membership.objects.create(
        user=factories.user("two", role="admin", is_staff=True),
        tenant_id=OTHER_TENANT,
        role="admin",
    )
    client = browser(User.objects.get(username="two"))

    page(client, address(first), {**FORM, "tenant_id": OTHER_TENANT, "pattern": "*"})

    assert set(Policy.objects.values_list("tenant_id", "pattern")) == {(TENANT, "delete_*")}


def test_change_of_an_outdated_version_is_refused_with_a_message() -> None:
    first = a_policy()
    client = signed_in()
    changes.change(factories.actor(ADMIN), "delete_*", Rule(min_approvals=5), version=1)

    for form in (FORM, {"_retire": "1"}):
        assert "Somebody else has changed or retired this policy" in page(
            client, address(first), form
        )

    current = Policy.objects.get(is_current=True)
    assert (current.version, current.min_approvals, current.is_retired) == (2, 5, False)


def test_second_policy_for_a_pattern_is_refused_in_the_form() -> None:
    a_policy()

    assert "There is a policy with this pattern already" in page(
        signed_in(), f"{POLICIES}add/", FORM
    )
    assert Policy.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"pattern": "delete_**"}, "Two * side by side"),
        ({"on_timeout": "escalate"}, "Say to which role it escalates"),
        ({"on_timeout": "escalate", "escalate_to_role": "admin"}, "Say for how long it escalates"),
        ({"escalate_to_role": "admin"}, "Only what escalates"),
        ({"min_approvals": "6"}, "1 to 5 people can be needed"),
        ({"timeout_seconds": "2592001"}, "A term is 1 second to 30 days"),
    ],
)
def test_invalid_policy_is_refused_in_the_form(fields: dict[str, str], complaint: str) -> None:
    assert complaint in page(signed_in(), f"{POLICIES}add/", {**FORM, **fields})
    assert not Policy.objects.exists()


@pytest.mark.parametrize("by", ["button", "action"])
def test_admin_retires_a_policy(by: str) -> None:
    policy = a_policy()
    client = signed_in()
    assert 'name="_retire"' in page(client, address(policy))

    if by == "button":
        page(client, address(policy), {"_retire": "1"})
    else:
        action = {"action": "retire_selected", "_selected_action": str(policy.pk)}
        assert "1 policy retired" in page(client, POLICIES, action)

    assert Policy.objects.get(is_current=True).is_retired
    assert address(policy) not in page(client, POLICIES)
    assert AuditRecord.objects.get(event="policy:retired").actor == "desk"


def test_nobody_deletes_a_policy() -> None:
    policy = a_policy()
    client = signed_in(is_superuser=True)

    assert client.post(f"{POLICIES}{policy.pk}/delete/", {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": str(policy.pk), "post": "yes"}
    client.post(POLICIES, action)

    assert Policy.objects.get() == policy


# --- who may -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "approver"])
def test_members_who_are_no_admins_read_and_do_not_change(role: str) -> None:
    policy, reason = a_policy(), a_reason()
    client = signed_in(role)

    for row, base in ((policy, POLICIES), (reason, REASONS)):
        assert address(row) in page(client, base)
        assert 'name="_save"' not in page(client, address(row))
        assert client.post(address(row), {**FORM, "text": "x"}).status_code == 403
        assert client.post(f"{base}add/", {**FORM, "text": "x"}).status_code == 403
        assert client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(address(policy), {"_retire": "1"})
    for base, action, row in (
        (POLICIES, "retire_selected", policy),
        (REASONS, "delete_selected", reason),
    ):
        client.post(base, {"action": action, "_selected_action": row.pk, "post": "yes"})

    assert Policy.objects.get() == policy
    assert not Policy.objects.get().is_retired
    assert RejectionReason.objects.get() == reason


@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize("role", [None, "admin"])
def test_rows_of_another_tenant_are_neither_seen_nor_changed(
    role: str | None, is_superuser: bool
) -> None:
    policy, reason = a_policy("secret_*", tenant_id=OTHER_TENANT), a_reason("Secret", OTHER_TENANT)
    client = signed_in(role, is_superuser=is_superuser)

    for row, base in ((policy, POLICIES), (reason, REASONS)):
        for path in (base, f"{base}?tenant_id={OTHER_TENANT}", f"{base}?q=secret"):
            answer = client.get(path, follow=True)
            text = answer.content.decode().replace(f"tenant_id={OTHER_TENANT}", "")
            assert "secret_" not in text
            assert "Secret" not in text
        for path in (address(row), f"{base}{row.pk}/history/", f"{base}{row.pk}/delete/"):
            for answer in (
                client.get(path),
                client.post(path, {**FORM, "text": "x", "post": "yes"}),
            ):
                # The admin sends away from what it does not find, and refuses the rest.
                assert answer.status_code in (302, 403), path
                assert b"ecret" not in answer.content
    client.post(address(policy), {"_retire": "1"})
    for base, action, row in (
        (POLICIES, "retire_selected", policy),
        (REASONS, "delete_selected", reason),
    ):
        client.post(base, {"action": action, "_selected_action": row.pk, "post": "yes"})

    assert list(Policy.objects.all()) == [policy]
    assert list(RejectionReason.objects.all()) == [reason]
    assert (reason.text, policy.is_current) == ("Secret", True)


@pytest.mark.parametrize(
    ("path", "form"), [(POLICIES, FORM), (REASONS, {"text": "no", "position": "0"})]
)
def test_form_that_names_another_tenant_is_refused(path: str, form: dict[str, str]) -> None:
    client = signed_in(is_superuser=True)
    user = User.objects.get(username="desk")
    Membership.objects.create(user=user, tenant_id=OTHER_TENANT, role="approver")
    client.force_login(user)

    offered = page(client, f"{path}add/")
    refused = page(client, f"{path}add/", {**form, "tenant_id": OTHER_TENANT})

    assert f'value="{TENANT}"' in offered
    assert OTHER_TENANT not in offered
    assert "This tenant is not one of those that you may choose here." in refused
    assert not Policy.objects.exists()
    assert not RejectionReason.objects.exists()


@pytest.mark.parametrize("path", EVERY)
def test_superuser_without_membership_does_not_see_the_pages(path: str) -> None:
    client = signed_in(None, is_superuser=True)

    assert client.get(path).status_code == 403
    assert client.get(f"{path}add/").status_code == 403
    assert path not in page(client, "/admin/pages/")


@pytest.mark.parametrize("path", EVERY)
def test_pages_have_no_inline_script_or_style(path: str) -> None:
    row = a_policy() if path == POLICIES else a_reason()
    client = signed_in()

    for address_ in (path, f"{path}add/", address(row)):
        text = page(client, address_)
        assert "<script>" not in text
        assert "<style" not in text
        assert ' style="' not in text
        assert " onclick=" not in text
