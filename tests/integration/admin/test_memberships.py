"""Who gives memberships: a tenant's admins in their own tenant, superusers anywhere."""

from __future__ import annotations

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client, RequestFactory

from dwp_project.gateway.models import Membership
from hitl.models import AuditRecord
from tests import factories
from tests.integration.calls import browser
from tests.people import OTHER_TENANT, TENANT

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway/membership/"
ADD = f"{LIST}add/"


@pytest.fixture
def theirs() -> Membership:
    """A membership in a tenant that is not one's own."""
    factories.user("stranger", role="viewer", tenant_id="tenant2")
    return Membership.objects.get(user__username="stranger")


@pytest.fixture
def ours() -> Membership:
    """A membership in tenant1."""
    factories.user("colleague", role="viewer")
    return Membership.objects.get(user__username="colleague")


def signed_in(role: str | None = "admin", *, is_superuser: bool = False) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


def state() -> list[tuple[str, str, str]]:
    members = Membership.objects.order_by("user__username", "tenant_id")
    return list(members.values_list("user__username", "tenant_id", "role"))


def page(member: Membership, name: str = "change") -> str:
    return f"{LIST}{member.pk}/{name}/"


def test_admin_sees_the_memberships_of_their_own_tenants_only(
    ours: Membership, theirs: Membership
) -> None:
    shown = signed_in().get(LIST).content.decode()

    assert "colleague" in shown
    assert "stranger" not in shown
    assert "tenant2" not in shown


def test_admin_adds_changes_and_removes_in_their_own_tenant(ours: Membership) -> None:
    factories.user("new")
    client = signed_in()

    sent = {"username": "new", "tenant_id": "tenant1", "role": "approver"}
    assert client.post(ADD, sent).status_code == 302
    assert ("new", "tenant1", "approver") in state()
    assert client.post(page(ours), {"role": "admin"}).status_code == 302
    assert ("colleague", "tenant1", "admin") in state()
    assert client.post(page(ours, "delete"), {"post": "yes"}).status_code == 302
    assert "colleague" not in [username for username, _tenant, _role in state()]
    records = AuditRecord.objects.order_by("id").values_list("event", "actor", "tenant_id")
    assert list(records) == [
        (f"membership:{what}", "desk", "tenant1") for what in ("added", "changed", "removed")
    ]


@pytest.mark.parametrize("username", ["nobody", "NEW", "new ", "ne", ""])
def test_account_is_named_exactly(username: str) -> None:
    factories.user("new")
    before = state()
    client = signed_in()

    answer = client.post(ADD, {"username": username, "tenant_id": "tenant1", "role": "viewer"})

    if username != "new ":  # spaces around it are taken off, as at the sign-in
        assert answer.status_code == 200
        assert [each for each in state() if each[0] != "desk"] == before


@pytest.mark.parametrize("elsewhere", ["member", "superuser"])
def test_admin_cannot_add_an_account_of_another_tenant(elsewhere: str) -> None:
    """A member's sign-ins are recorded in the tenant's chain: no other tenant may get at them."""
    admin = browser(factories.user("boss", role="admin", is_staff=True))
    if elsewhere == "member":
        factories.user("theirs", tenant_id=OTHER_TENANT, role="approver", is_staff=True)
    else:
        factories.user("theirs", role=None, is_staff=True, is_superuser=True)
    form = {"username": "theirs", "tenant_id": TENANT, "role": "viewer"}
    before = Membership.objects.count()

    answer = admin.post("/admin/gateway/membership/add/", form)
    unknown = admin.post("/admin/gateway/membership/add/", {**form, "username": "nobody"})

    said = "There is no account of exactly this name that you may add."
    assert said in answer.content.decode()
    assert said in unknown.content.decode()
    assert Membership.objects.count() == before


def test_page_offers_no_other_accounts(ours: Membership) -> None:
    factories.user("somebody-else")
    client = signed_in()

    assert "somebody-else" not in client.get(ADD).content.decode()
    assert "somebody-else" not in client.get(page(ours)).content.decode()
    query = "app_label=gateway&model_name=membership&field_name=user&term=some"
    assert client.get(f"/admin/autocomplete/?{query}").status_code == 403


def test_admin_cannot_reach_another_tenant_with_forged_forms(
    ours: Membership, theirs: Membership
) -> None:
    factories.user("new")
    client = signed_in()
    before = state()

    for sent in (
        {"username": "new", "tenant_id": "tenant2", "role": "admin"},
        {"username": "desk", "tenant_id": "tenant2", "role": "admin"},
        {"username": "new", "tenant_id": "", "role": "admin"},
        {"username": "new", "tenant_id": "tenant1", "role": "superuser"},
    ):
        assert client.post(ADD, sent).status_code == 200, sent
    for name in ("change", "delete", "history"):
        assert client.get(page(theirs, name)).status_code in (302, 403)
    client.post(page(theirs), {"role": "admin"})
    client.post(page(theirs, "delete"), {"post": "yes"})
    sent_many = {
        "action": "delete_selected",
        "_selected_action": [str(theirs.pk)],
        "post": "yes",
    }
    client.post(LIST, sent_many)
    # What a form does not show it does not take.
    sent = {"role": "viewer", "tenant_id": "tenant2", "user": str(theirs.user_id), "username": "x"}
    client.post(page(ours), sent)

    assert state() == before


def test_admin_removes_many_of_their_own(ours: Membership, theirs: Membership) -> None:
    client = signed_in()
    picked = [str(ours.pk), str(theirs.pk)]

    client.post(LIST, {"action": "delete_selected", "_selected_action": picked, "post": "yes"})

    assert [username for username, _tenant, _role in state()] == ["desk", "stranger"]
    assert AuditRecord.objects.get().event == "membership:removed"


@pytest.mark.parametrize("role", ["viewer", "approver", None])
def test_other_roles_neither_see_nor_change_memberships(ours: Membership, role: str | None) -> None:
    user = factories.user("desk", role=role, is_staff=True)
    # Django's own permissions do not count.
    kind = ContentType.objects.get_or_create(app_label="gateway", model="membership")[0]
    for name in ("add", "change", "delete", "view"):
        given = Permission.objects.get_or_create(
            codename=f"{name}_membership", content_type=kind, defaults={"name": name}
        )[0]
        user.user_permissions.add(given)
    client = browser(user)
    before = state()

    assert client.get(LIST).status_code == 403
    assert client.get(ADD).status_code == 403
    sent = {"username": "desk", "tenant_id": "tenant1", "role": "admin"}
    assert client.post(ADD, sent).status_code == 403
    assert client.post(page(ours), {"role": "admin"}).status_code in (302, 403)
    assert client.post(page(ours, "delete"), {"post": "yes"}).status_code in (302, 403)
    assert state() == before


def test_superuser_adds_memberships_in_any_tenant(theirs: Membership) -> None:
    factories.user("new")
    factories.tenant("brand-new")
    client = signed_in(None, is_superuser=True)

    sent = {"username": "new", "tenant_id": "brand-new", "role": "admin"}
    assert client.post(ADD, sent).status_code == 302
    assert client.post(page(theirs), {"role": "admin"}).status_code == 302

    assert ("new", "brand-new", "admin") in state()
    assert ("stranger", "tenant2", "admin") in state()
    answer = client.post(ADD, sent)  # a second time
    assert answer.status_code == 200


def test_superuser_who_mistypes_a_tenant_makes_none() -> None:
    factories.user("new")
    factories.tenant("tenant1")
    client = signed_in(None, is_superuser=True)

    answer = client.post(ADD, {"username": "new", "tenant_id": "tennant1", "role": "admin"})

    text = "This tenant is not one of those that you may choose here."
    assert text in answer.content.decode()
    assert state() == []


def test_list_goes_by_tenant_and_then_by_person() -> None:
    for name, tenant in (("zoe", "tenant1"), ("amy", "tenant2"), ("bob", "tenant1")):
        factories.user(name, role="viewer", tenant_id=tenant)

    rows = signed_in(None, is_superuser=True).get(LIST).content.decode().split("result_list")[1]

    assert rows.index(">bob<") < rows.index(">zoe<") < rows.index(">amy<")


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_accounts_are_for_superusers_only(role: str) -> None:
    client = signed_in(role)
    me = User.objects.get(username="desk")

    assert client.get("/admin/auth/user/").status_code == 403
    sent = {"username": "desk", "is_superuser": "on"}
    assert client.post(f"/admin/auth/user/{me.pk}/change/", sent).status_code == 403
    assert not User.objects.get(username="desk").is_superuser


def test_permission_for_a_membership_is_of_its_own_tenant(
    ours: Membership, theirs: Membership, rf: RequestFactory
) -> None:
    request = rf.get(LIST)
    request.user = factories.user("desk", role="admin", is_staff=True)
    members = site.get_model_admin(Membership)

    for may in ("view", "change", "delete"):
        allowed = getattr(members, f"has_{may}_permission")
        assert allowed(request, ours)
        assert not allowed(request, theirs)


def test_history_of_a_membership_has_all_that_became_of_it(ours: Membership) -> None:
    client = signed_in()
    client.post(page(ours), {"role": "approver"})
    factories.user("new")
    client.post(ADD, {"username": "new", "tenant_id": "tenant1", "role": "admin"})
    added = Membership.objects.get(user__username="new")
    client.post(page(added, "delete"), {"post": "yes"})

    shown = client.get(page(ours, "history"), follow=True).content.decode()

    rows = shown.partition("<tbody")[2]
    for event in ("membership added", "membership changed", "membership removed"):
        assert event in rows
    assert 'value="membership" selected' in shown
