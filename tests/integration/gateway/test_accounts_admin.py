"""The page of an account: the account and its memberships on one form, for superusers."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError
from django.test import Client

from dwp_project.gateway.models import Membership
from hitl.audit import record
from hitl.models import AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.calls import browser
from tests.people import OTHER_TENANT, TENANT

pytestmark = pytest.mark.django_db

LIST = "/admin/auth/user/"
ADD = f"{LIST}add/"
SECRET = "correct-horse-battery"


def signed_in() -> Client:
    return browser(factories.user("root", is_staff=True, is_superuser=True))


def form(*members: dict[str, str], initial: int = 0, **account: str) -> dict[str, str]:
    """Return what the form of an account sends, with its memberships."""
    sent = {
        "memberships-TOTAL_FORMS": str(len(members)),
        "memberships-INITIAL_FORMS": str(initial),
        **account,
    }
    for number, member in enumerate(members):
        sent |= {f"memberships-{number}-{name}": value for name, value in member.items()}
    return sent


def new(*members: dict[str, str], **account: str) -> dict[str, str]:
    return {**form(*members, username="kim", password1=SECRET, password2=SECRET), **account}


def state() -> list[tuple[str, str]]:
    members = Membership.objects.filter(user__username="kim").order_by("tenant_id")
    return list(members.values_list("tenant_id", "role"))


def page(client: Client, path: str) -> str:
    return html.unescape(client.get(path).content.decode())


def test_account_and_its_memberships_are_made_at_once_and_recorded() -> None:
    for tenant in (TENANT, OTHER_TENANT):
        factories.tenant(tenant)
    client = signed_in()

    answer = client.post(
        ADD,
        new(
            {"tenant_id": TENANT, "role": "approver"},
            {"tenant_id": OTHER_TENANT, "role": "viewer"},
            is_staff="on",
        ),
    )

    assert (answer.status_code, answer["Location"]) == (302, LIST)
    kim = User.objects.get(username="kim")
    assert (kim.is_staff, kim.is_superuser, kim.check_password(SECRET)) == (True, False, True)
    assert state() == [(TENANT, "approver"), (OTHER_TENANT, "viewer")]
    records = AuditRecord.objects.order_by("id").values_list("tenant_id", "event", "actor")
    assert list(records) == [
        ("", "user:changed", "root"),
        (TENANT, "membership:added", "root"),
        (OTHER_TENANT, "membership:added", "root"),
    ]


def test_memberships_are_changed_and_removed_on_the_page_of_the_account() -> None:
    factories.tenant(TENANT)
    kim = factories.user("kim", role="viewer")
    kim.memberships.create(tenant_id="older", role="admin")  # of no tenant that was made
    AuditRecord.objects.all()
    ours, older = kim.memberships.order_by("-tenant_id")
    sent = form(
        {"id": str(older.pk), "user": str(kim.pk), "role": "admin", "DELETE": "on"},
        {"id": str(ours.pk), "user": str(kim.pk), "role": "admin"},
        initial=2,
        username="kim",
        is_active="on",
    )

    answer = signed_in().post(f"{LIST}{kim.pk}/change/", sent)

    assert answer.status_code == 302
    assert state() == [(TENANT, "admin")]
    events = AuditRecord.objects.order_by("id").values_list("event", flat=True)
    assert set(events) >= {"membership:removed", "membership:changed"}


@pytest.mark.parametrize("tenant", ["tennant1", "", "x" * 300])
def test_tenant_that_was_not_made_is_refused_and_nothing_is_saved(tenant: str) -> None:
    factories.tenant(TENANT)
    client = signed_in()

    answer = client.post(ADD, new({"tenant_id": tenant, "role": "admin"}))

    assert answer.status_code == 200
    if tenant:
        text = "There is no such tenant. Make it on the page Tenants first."
        assert text in answer.content.decode()
    assert not User.objects.filter(username="kim").exists()


def test_same_tenant_twice_is_refused() -> None:
    factories.tenant(TENANT)
    member = {"tenant_id": TENANT, "role": "admin"}

    answer = signed_in().post(ADD, new(member, member))

    assert answer.status_code == 200
    assert not User.objects.filter(username="kim").exists()


def test_tenant_of_a_membership_stays_whatever_a_form_says() -> None:
    for tenant in (TENANT, OTHER_TENANT):
        factories.tenant(tenant)
    kim = factories.user("kim", role="viewer")
    [ours] = kim.memberships.all()
    member = {"id": str(ours.pk), "user": str(kim.pk), "tenant_id": OTHER_TENANT, "role": "viewer"}

    signed_in().post(
        f"{LIST}{kim.pk}/change/", form(member, initial=1, username="kim", is_active="on")
    )

    assert state() == [(TENANT, "viewer")]


def test_account_is_not_made_without_the_record_of_its_membership(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.tenant(TENANT)
    client = signed_in()
    client.raise_request_exception = False
    write = record.write

    def fail(event: AuditEvent, *args: Any, **kwargs: Any) -> AuditRecord:
        if event == AuditEvent.MEMBERSHIP_ADDED:
            raise DatabaseError("the audit cannot be written")
        return write(event, *args, **kwargs)

    monkeypatch.setattr(record, "write", fail)
    answer = client.post(ADD, new({"tenant_id": TENANT, "role": "admin"}))

    assert answer.status_code == 500
    assert not User.objects.filter(username="kim").exists()
    assert not AuditRecord.objects.exists()


def test_form_says_what_flags_mean_and_shows_nothing_that_means_nothing() -> None:
    factories.tenant(TENANT, "Ours")
    kim = factories.user("kim", role="viewer")
    client = signed_in()

    for path in (ADD, f"{LIST}{kim.pk}/change/"):
        shown = page(client, path)
        assert "may sign in to the desk" in shown
        assert "Opens no tenant" in shown
        assert "tenant1 (Ours)" in shown
        for stock in ("groups", "user_permissions", "user permissions", "edit more user options"):
            assert stock not in shown
    assert client.get("/admin/auth/group/").status_code == 404


def test_list_says_who_is_a_member_of_what() -> None:
    factories.user("kim", role="approver", is_staff=True)

    rows = page(signed_in(), LIST).split('id="result_list"')[1]

    assert '<span class="shown">tenant1</span> <span class="quiet">approver</span>' in rows


def test_permissions_of_django_open_no_account() -> None:
    user = factories.user("desk", role="admin", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    client = browser(user)

    for path in (LIST, ADD, f"{LIST}{user.pk}/change/"):
        assert client.get(path).status_code == 403
    sent = form(username="desk", is_superuser="on")
    assert client.post(f"{LIST}{user.pk}/change/", sent).status_code == 403
