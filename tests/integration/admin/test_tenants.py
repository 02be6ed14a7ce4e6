"""Tenants: superusers make, name and remove them on purpose, a tenant's admins see their own."""

from __future__ import annotations

import html
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client

from dwp_project.gateway.models import Membership, Tenant
from dwp_project.jsontext import parse
from hitl.models import AuditRecord, InboxView
from tests import factories
from tests.integration.calls import Api, browser
from tests.people import OTHER_TENANT, TENANT, Person
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway/tenant/"
ADD = f"{LIST}add/"


def signed_in(role: str | None = None, *, is_superuser: bool = True) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


def page(client: Client, path: str = LIST) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return html.unescape(answer.content.decode())


def made() -> list[tuple[str, str]]:
    return list(Tenant.objects.values_list("tenant_id", "name"))


def records() -> list[tuple[str, str, str]]:
    of_tenants = AuditRecord.objects.filter(event__startswith="tenant:").order_by("id")
    return [
        (record.tenant_id, record.event, parse(record.details)["tenant"]) for record in of_tenants
    ]


def test_superuser_makes_names_and_removes_a_tenant_and_each_is_recorded() -> None:
    client = signed_in()

    assert client.post(ADD, {"tenant_id": "acme", "name": ""}).status_code == 302
    tenant = Tenant.objects.get()
    address = f"{LIST}{tenant.pk}/"
    # The id stays, whatever a form says.
    client.post(f"{address}change/", {"tenant_id": "other", "name": "ACME Ltd"})
    assert made() == [("acme", "ACME Ltd")]
    assert client.post(f"{address}delete/", {"post": "yes"}).status_code == 302

    assert made() == []
    assert records() == [("", f"tenant:{what}", "acme") for what in ("added", "changed", "removed")]
    assert set(AuditRecord.objects.values_list("actor", flat=True)) == {"desk"}


@pytest.mark.parametrize("tenant_id", ["", " acme", "ac\u202eme", "x" * 256, "acme"])
def test_tenant_that_no_token_could_name_or_that_there_is_is_refused(tenant_id: str) -> None:
    factories.tenant("acme")
    client = signed_in()

    answer = client.post(ADD, {"tenant_id": tenant_id, "name": ""})

    if tenant_id.strip() != "acme" or tenant_id == "acme":  # spaces around it are taken off
        assert "errorlist" in answer.content.decode()
    assert made() == [("acme", "")]


@pytest.mark.parametrize("has", ["member", "request", "policy"])
def test_tenant_in_use_is_not_removed(has: str) -> None:
    tenant = factories.tenant(TENANT)
    if has == "member":
        factories.user("kim", role="viewer")
    elif has == "request":
        factories.opened()
    else:
        a_policy()
    client = signed_in()

    shown = page(client, f"{LIST}{tenant.pk}/change/")
    answer = client.post(f"{LIST}{tenant.pk}/delete/", {"post": "yes"})

    assert "It has members, requests or policies, and so cannot be removed." in shown
    assert answer.status_code == 403
    assert made() == [(TENANT, "")]


def test_tenant_that_only_a_token_named_works_and_is_offered_for_adoption() -> None:
    factories.tenant(TENANT)
    factories.opened()
    asked = Api().post(
        "/aura/hitl/requests",
        Person("asker1", "elsewhere", "user"),
        {"sessionId": "s1", "actionType": "pay", "message": "Pay?", "context": {}},
    )
    client = signed_in()

    shown = page(client).split("Seen, but not made here")[1]

    assert asked.status == 201
    assert "elsewhere" in shown
    assert TENANT not in shown
    assert f"{ADD}?tenant_id=elsewhere" in shown
    assert 'value="elsewhere"' in page(client, f"{ADD}?tenant_id=elsewhere")
    client.post(ADD, {"tenant_id": "elsewhere", "name": ""})
    assert "Seen, but not made here" not in page(client)


def test_members_of_a_tenant_that_was_not_made_keep_working_and_it_is_offered() -> None:
    user = factories.user("kim", role="approver", tenant_id="older", is_staff=True)
    factories.opened(request_id="req-older", by=Person("asker1", "older", "user"))

    assert "req-older" in page(browser(user), "/admin/hitl/approvalrequest/")
    assert "older" in page(signed_in()).split("Seen, but not made here")[1]


def test_list_counts_what_the_operator_may_see() -> None:
    factories.tenant(TENANT, "Ours")
    factories.tenant(OTHER_TENANT, "Theirs")
    a_policy()
    a_policy(tenant_id=OTHER_TENANT)
    factories.opened()
    factories.opened(by=Person("outsider1", OTHER_TENANT, "user"))

    rows = page(signed_in("viewer")).split('id="result_list"')[1].split("<tr>")[2:]

    ours, theirs = rows
    assert '<td class="field-policies">1</td><td class="field-waiting">1</td>' in ours
    assert "1 person" in ours
    # A superuser is no member: what a tenant has is its members' business.
    assert '<td class="field-policies">–</td><td class="field-waiting">–</td>' in theirs


def test_admin_of_a_tenant_sees_only_their_own_and_changes_nothing() -> None:
    ours, theirs = factories.tenant(TENANT, "Ours"), factories.tenant(OTHER_TENANT, "Theirs")
    factories.opened(by=Person("outsider1", "unmade", "user"))
    client = signed_in("admin", is_superuser=False)

    shown = page(client)

    assert "Ours" in shown
    for hidden in ("Theirs", OTHER_TENANT, "unmade"):
        assert hidden not in shown
    assert client.get(f"{LIST}{theirs.pk}/change/").status_code == 302
    assert client.get(ADD).status_code == 403
    for path in (ADD, f"{LIST}{ours.pk}/change/", f"{LIST}{ours.pk}/delete/"):
        assert client.post(path, {"tenant_id": "x", "name": "x", "post": "yes"}).status_code == 403
    assert made() == [(TENANT, "Ours"), (OTHER_TENANT, "Theirs")]


@pytest.mark.parametrize("role", ["viewer", "approver", None])
def test_other_roles_do_not_have_the_page(role: str | None) -> None:
    client = signed_in(role, is_superuser=False)

    assert client.get(LIST).status_code == 403
    assert LIST not in page(client, "/admin/pages/")


def test_admin_gives_nobody_a_tenant_of_others() -> None:
    factories.tenant(TENANT)
    factories.tenant(OTHER_TENANT)
    factories.user("new")
    client = signed_in("admin", is_superuser=False)
    add = "/admin/gateway/membership/add/"

    assert OTHER_TENANT not in page(client, add)
    answers = [
        client.post(add, {"username": "new", "tenant_id": tenant, "role": "admin"})
        for tenant in (OTHER_TENANT, "unmade")
    ]

    texts = [answer.content.decode() for answer in answers]
    text = "This tenant is not one of those that you may choose here."
    assert all(text in shown for shown in texts)
    assert list(Membership.objects.values_list("tenant_id", flat=True)) == [TENANT]


def test_update_makes_a_tenant_of_each_that_has_members() -> None:
    for number, tenant in enumerate(("b", "a", "a")):
        factories.user(f"user{number}", role="viewer", tenant_id=tenant)
    migration = import_module("dwp_project.gateway.migrations.0002_tenants")

    for _again in range(2):
        migration.fill(apps, SimpleNamespace(connection=connection))

    assert made() == [("a", ""), ("b", "")]


@pytest.mark.parametrize(
    ("name", "is_alike"), [("Tenant1", True), ("tenаnt1", True), ("tenant2", False)]
)
def test_tenant_that_looks_like_another_is_made_with_a_warning(name: str, is_alike: bool) -> None:
    factories.tenant("tenant1")

    answer = signed_in().post(ADD, {"tenant_id": name, "name": ""}, follow=True)

    assert name in [tenant for tenant, _name in made()]
    assert ("It looks like tenant1." in answer.content.decode()) == is_alike


def test_pages_of_accounts_show_tenants_with_their_marks() -> None:
    name = "tenant\u31641"  # printable, and seen by nobody
    factories.tenant(name)
    client = signed_in()
    user = factories.user("kim", role="admin", tenant_id=name)

    for path in ("", "add/", f"{user.pk}/change/"):
        shown = page(client, f"/admin/auth/user/{path}")
        assert "U+3164" in shown, path


def test_removing_an_account_says_what_goes_with_it() -> None:
    client = signed_in()
    user = factories.user("kim", role="approver", tenant_id="tenant1")
    Membership.objects.create(user=user, tenant_id="tenant2", role="viewer")
    InboxView.objects.create(user=user, name="Payments", query="action=pay")

    shown = page(client, f"/admin/auth/user/{user.pk}/delete/")

    assert ">tenant1 · approver</li>" in shown
    assert ">tenant2 · viewer</li>" in shown
    assert ">Payments</li>" in shown
