"""What happens to people is in the audit: sign-ins, memberships, accounts."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from pytest_django import Settings

from dwp_project.gateway.models import Membership
from hitl.audit import accounts, record, verify
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.calls import Api, browser

pytestmark = pytest.mark.django_db


class NewHasher(MD5PasswordHasher):
    """A cheap hasher that is preferred to the one that hashed."""

    algorithm = "newer"


def events() -> list[tuple[str, str, str]]:
    """Return chain, event and actor of every record, oldest first."""
    return list(AuditRecord.objects.order_by("id").values_list("tenant_id", "event", "actor"))


def details(event: str) -> dict[str, Any]:
    stored = json.loads(AuditRecord.objects.get(event=event).details)
    assert isinstance(stored, dict)
    return stored


def signed_in(
    username: str = "desk", password: str = "right", *, is_strict: bool = True, **more: Any
) -> Client:
    client = browser(raise_request_exception=is_strict)
    client.post(
        "/admin/login/?next=/admin/",
        {"username": username, "password": password},
        headers={"User-Agent": "Browser/1"},
        REMOTE_ADDR="10.1.2.3",
        **more,
    )
    return client


def login(api: Api, username: str, password: str, tenant: str) -> int:
    body = {"username": username, "password": password, "tenantId": tenant}
    return api.post("/auth/login", body=body).status


# --- the pages --------------------------------------------------------------------------


def test_sign_in_is_in_the_chain_of_each_tenant_of_the_person() -> None:
    user = factories.user("desk", role="approver", password="right", is_staff=True)
    Membership.objects.create(user=user, tenant_id="another", role="viewer")
    before = len(events())

    client = signed_in()

    assert "_auth_user_id" in client.session
    assert events()[before:] == [
        ("another", "user:signed_in", "desk"),
        ("tenant1", "user:signed_in", "desk"),
    ]
    entry = AuditRecord.objects.filter(tenant_id="tenant1").last()
    assert entry is not None
    assert (entry.channel, entry.actor_kind) == ("admin", "operator")
    assert (entry.source_address, entry.user_agent) == ("10.1.2.3", "Browser/1")


def test_sign_in_without_a_tenant_is_in_the_deployments_chain() -> None:
    factories.user("root", password="right", is_staff=True, is_superuser=True)

    signed_in("root")

    assert events() == [("", "user:signed_in", "root")]


def test_sign_out_is_recorded() -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    client = signed_in()

    client.post("/admin/logout/")
    client.post("/admin/logout/")  # nobody is signed in any more

    assert events() == [
        ("tenant1", "user:signed_in", "desk"),
        ("tenant1", "user:signed_out", "desk"),
    ]


def test_wrong_password_is_one_record_without_the_password() -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)

    signed_in(password="hunter2-secret")

    assert events() == [("tenant1", "user:sign_in_failed", "desk")]
    assert "hunter2" not in AuditRecord.objects.get().details


def test_right_password_of_somebody_who_is_no_operator_is_recorded() -> None:
    factories.user("desk", role="viewer", password="right", is_staff=False)

    signed_in()

    assert events() == [("tenant1", "user:sign_in_failed", "desk")]
    assert details("user:sign_in_failed") == {"why": "not staff"}


def test_unknown_name_goes_to_the_deployments_chain_bounded_and_printable() -> None:
    signed_in("x\x1b[31m\u202e" + "y" * 100, "any")

    [(tenant, event, actor)] = events()
    assert (tenant, event) == ("", "user:sign_in_failed")
    assert actor == "x?[31m?" + "y" * 100
    assert list(AuditChain.objects.values_list("tenant_id", flat=True)) == [""]


def test_check_of_a_password_outside_any_page_is_no_sign_in() -> None:
    factories.user("desk", password="right")
    from django.contrib.auth import authenticate

    assert authenticate(username="desk", password="wrong") is None
    assert events() == []


# --- REST -------------------------------------------------------------------------------


def test_login_is_in_the_chain_of_its_tenant_alone(api: Api) -> None:
    user = factories.user("kim", role="approver", password="right")
    Membership.objects.create(user=user, tenant_id="another", role="viewer")
    before = len(events())

    assert login(api, "kim", "right", "tenant1") == 200

    assert events()[before:] == [("tenant1", "user:signed_in", "kim")]
    entry = AuditRecord.objects.get(event="user:signed_in")
    assert (entry.channel, json.loads(entry.details)) == ("rest", {"role": "approver"})


@pytest.mark.parametrize(
    ("username", "password", "tenant", "chain"),
    [
        ("kim", "wrong", "tenant1", "tenant1"),
        ("kim", "right", "elsewhere", ""),
        ("kim", "wrong", "elsewhere", ""),
        ("nobody", "wrong", "tenant1", ""),
        ("nobody", "wrong", "made up", ""),
    ],
)
def test_refused_login_is_one_record_and_makes_no_chain(
    api: Api, username: str, password: str, tenant: str, chain: str
) -> None:
    factories.user("kim", role="approver", password="right")

    assert login(api, username, password, tenant) == 401

    assert events() == [(chain, "user:sign_in_failed", username)]
    assert details("user:sign_in_failed") == {"tenant": tenant}
    assert list(AuditChain.objects.values_list("tenant_id", flat=True)) == [chain]


# --- a record that cannot be written ----------------------------------------------------


def raise_database_error(*args: Any, **kwargs: Any) -> None:
    raise DatabaseError("the audit cannot be written")


@pytest.fixture
def no_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "write", raise_database_error)


@pytest.mark.django_db(transaction=True)
def test_nobody_signs_in_unrecorded(no_audit: None, api: Api) -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    client = browser(raise_request_exception=False)

    answer = client.post("/admin/login/", {"username": "desk", "password": "right"})

    assert answer.status_code == 500
    assert client.get("/admin/pages/").status_code == 302
    assert login(api, "desk", "right", "tenant1") >= 500


@pytest.mark.django_db(transaction=True)
def test_refusal_and_sign_out_take_effect_unrecorded(
    monkeypatch: pytest.MonkeyPatch, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    client = signed_in()

    monkeypatch.setattr(record, "write", raise_database_error)
    assert login(api, "desk", "wrong", "tenant1") == 401
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/pages/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_no_change_is_committed_unrecorded(no_audit: None) -> None:
    user = factories.user("kim", role="viewer")
    member = Membership.objects.get()

    member.role = "admin"
    for change in (
        member.save,
        member.delete,
        lambda: Membership.objects.create(user=user, tenant_id="x", role="admin"),
        lambda: Membership.objects.update(role="admin"),
        lambda: Membership.objects.all().delete(),
        user.delete,
        transaction.atomic(lambda: User.objects.create_superuser("root", "", "x")),
    ):
        with pytest.raises(DatabaseError):
            change()
    user.refresh_from_db()
    user.is_superuser = True
    with pytest.raises(DatabaseError), transaction.atomic():
        user.save()

    assert list(Membership.objects.values_list("tenant_id", "role")) == [("tenant1", "viewer")]
    assert list(User.objects.values_list("username", "is_superuser")) == [("kim", False)]


# --- memberships ------------------------------------------------------------------------


def test_membership_is_recorded_from_its_beginning_to_its_end() -> None:
    user = factories.user("kim")
    member = Membership.objects.create(user=user, tenant_id="tenant1", role="viewer")
    member.role = "admin"
    member.save()
    member.save()  # nothing changed
    member.delete()

    assert events() == [
        ("tenant1", "membership:added", "system"),
        ("tenant1", "membership:changed", "system"),
        ("tenant1", "membership:removed", "system"),
    ]
    assert details("membership:changed") == {
        "user": "kim",
        "memberRole": "admin",
        "memberRoleBefore": "viewer",
    }
    assert isinstance(verify.verify("tenant1"), verify.IntactChain)


def test_membership_that_moves_is_removed_here_and_added_there() -> None:
    factories.user("kim", role="viewer")
    member = Membership.objects.get()
    member.tenant_id = "tenant2"
    member.save()

    assert events() == [
        ("tenant1", "membership:removed", "system"),
        ("tenant2", "membership:added", "system"),
    ]


def test_bulk_changes_are_recorded_one_by_one() -> None:
    users = [factories.user(f"kim{number}") for number in range(3)]
    Membership.objects.bulk_create(
        [Membership(user=user, tenant_id="tenant1", role="viewer") for user in users]
    )
    assert Membership.objects.filter(user__username__gt="kim0").update(role="admin") == 2
    changed = list(Membership.objects.all())
    for member in changed:
        member.role = "approver"
    Membership.objects.bulk_update(changed, ["role"])
    Membership.objects.all().delete()

    assert [event for _tenant, event, _actor in events()] == (
        ["membership:added"] * 3 + ["membership:changed"] * 5 + ["membership:removed"] * 3
    )


def test_removed_account_takes_its_memberships_into_the_record() -> None:
    user = factories.user("kim", role="approver")
    user.delete()

    assert events() == [
        ("tenant1", "user:changed", "system"),
        ("tenant1", "membership:removed", "system"),
    ]


# --- accounts ---------------------------------------------------------------------------


def test_account_changes_are_recorded_without_the_password() -> None:
    user = factories.user("kim", role="viewer", password="old-secret")
    user.is_staff = user.is_superuser = True
    user.set_password("new-secret")
    user.save()

    assert events() == [("tenant1", "user:changed", "system")]
    assert details("user:changed") == {
        "user": "kim",
        "isStaff": True,
        "isSuperuser": True,
        "password": "changed",
    }
    assert user.password not in AuditRecord.objects.get().details


def test_account_that_is_switched_off_is_still_its_tenants(settings: Settings) -> None:
    user = factories.user("kim", role="viewer")
    user.is_active = False
    user.save()
    user.is_active = True
    user.save()

    assert [tenant for tenant, _event, _actor in events()] == ["tenant1", "tenant1"]


def test_rehashed_password_is_not_recorded_as_changed(settings: Settings) -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    settings.PASSWORD_HASHERS = [
        f"{__name__}.NewHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    signed_in()

    assert details("user:changed") == {"user": "desk", "password": "hashed anew"}


def test_time_of_the_last_sign_in_is_no_change() -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    signed_in()

    assert [event for _tenant, event, _actor in events()] == ["user:signed_in"]


def test_account_of_createsuperuser_is_recorded() -> None:
    call_command("createsuperuser", "--noinput", username="root", email="", verbosity=0)

    assert events() == [("", "user:changed", "system")]
    changed = details("user:changed")
    assert (changed["created"], changed["isSuperuser"]) == (True, True)


# --- where accounts change --------------------------------------------------------------


@pytest.fixture
def no_account_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every record be written but those of changed accounts."""
    write = record.write

    def fail(event: AuditEvent, *args: Any, **kwargs: Any) -> AuditRecord:
        if event == AuditEvent.USER_CHANGED:
            raise DatabaseError("the audit cannot be written")
        return write(event, *args, **kwargs)

    monkeypatch.setattr(record, "write", fail)


def accounts_and_flags() -> list[tuple[Any, ...]]:
    return list(
        User.objects.order_by("username").values_list("username", "password", "is_superuser")
    )


# What the form of an account sends of memberships, if none is changed.
NO_MEMBERSHIPS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


def account_page(page: str) -> int:
    """Send a form of the desk that changes an account, as root; return the answer's status."""
    password = {"password1": "a-new-secret", "password2": "a-new-secret"}
    root, other = User.objects.get(username="root"), User.objects.get(username="kim")
    url, form = {
        "add": (
            "/admin/auth/user/add/",
            {"username": "lee", **password, **NO_MEMBERSHIPS},
        ),
        "change": (
            f"/admin/auth/user/{other.pk}/change/",
            {
                "username": "kim",
                "is_superuser": "on",
                **NO_MEMBERSHIPS,
            },
        ),
        "delete": (f"/admin/auth/user/{other.pk}/delete/", {"post": "yes"}),
        "password": (
            f"/admin/auth/user/{other.pk}/password/",
            {"usable_password": "true", **password},
        ),
        "own password": (
            "/admin/password_change/",
            {
                "old_password": "right",
                "new_password1": "a-new-secret",
                "new_password2": "a-new-secret",
            },
        ),
    }[page]
    client = browser(raise_request_exception=False)
    client.force_login(root)
    return client.post(url, form).status_code


PAGES_OF_ACCOUNTS = ("add", "change", "delete", "password", "own password")


@pytest.mark.parametrize("page", PAGES_OF_ACCOUNTS)
@pytest.mark.django_db(transaction=True)
def test_change_on_the_desk_is_undone_if_it_cannot_be_recorded(
    page: str, no_account_records: None
) -> None:
    factories.user("kim")
    factories.user("root", password="right", is_staff=True, is_superuser=True)
    before = accounts_and_flags()

    assert account_page(page) == 500

    assert accounts_and_flags() == before
    assert events() == []


@pytest.mark.parametrize("page", PAGES_OF_ACCOUNTS)
def test_change_on_the_desk_is_recorded_once(page: str) -> None:
    factories.user("kim")
    factories.user("root", password="right", is_staff=True, is_superuser=True)
    before = accounts_and_flags()

    assert account_page(page) == 302

    assert accounts_and_flags() != before
    assert events() == [("", "user:changed", "root")]


def test_own_password_cannot_be_changed_by_somebody_who_is_not_signed_in() -> None:
    answer = browser().post("/admin/password_change/", {"old_password": "right"})

    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        "/admin/login/?next=/admin/password_change/",
    )


@pytest.mark.parametrize("over", ["rest", "the desk"])
@pytest.mark.django_db(transaction=True)
def test_password_is_not_rehashed_if_the_record_cannot_be_written(
    over: str, api: Api, settings: Settings, no_account_records: None
) -> None:
    factories.user("desk", role="viewer", password="right", is_staff=True)
    before = accounts_and_flags()
    settings.PASSWORD_HASHERS = [
        f"{__name__}.NewHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]

    if over == "rest":
        assert login(api, "desk", "right", "tenant1") >= 500
    else:
        assert "_auth_user_id" not in signed_in(is_strict=False).session

    assert accounts_and_flags() == before
    assert events() == []


def test_login_that_rehashes_a_password_succeeds_and_is_recorded(
    api: Api, settings: Settings
) -> None:
    factories.user("desk", role="viewer", password="right")
    settings.PASSWORD_HASHERS = [
        f"{__name__}.NewHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]

    assert login(api, "desk", "right", "tenant1") == 200

    assert User.objects.get().password.startswith("newer$")
    assert events() == [
        ("tenant1", "user:changed", "system"),
        ("tenant1", "user:signed_in", "desk"),
    ]
    assert login(api, "desk", "right", "tenant1") == 200


def typed(monkeypatch: pytest.MonkeyPatch, password: str = "a-new-secret") -> None:
    """Have a person type a password, who must not keep anybody waiting meanwhile."""

    def getpass(prompt: str = "") -> str:
        assert not connection.in_atomic_block
        return password

    monkeypatch.setattr("getpass.getpass", getpass)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def command_that_makes(account: str, **how: Any) -> None:
    call_command("createsuperuser", username=account, email="", verbosity=0, **how)


@pytest.mark.parametrize("how", [{"interactive": False}, {"stdin": Terminal()}])
@pytest.mark.django_db(transaction=True)
def test_superuser_is_made_with_a_record_or_not_at_all(
    how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(record, "write", raise_database_error)
        with pytest.raises(DatabaseError):
            command_that_makes("root", **how)
    assert accounts_and_flags() == []

    command_that_makes("root", **how)

    assert events() == [("", "user:changed", "system")]
    assert User.objects.get().is_superuser


@pytest.mark.django_db(transaction=True)
def test_command_changes_a_password_with_a_record_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed(monkeypatch)
    user = factories.user("kim", role="viewer", password="right")
    with monkeypatch.context() as broken:
        broken.setattr(record, "write", raise_database_error)
        with pytest.raises(DatabaseError):
            call_command("changepassword", "kim", stdout=StringIO())
    user.refresh_from_db()
    assert user.check_password("right")

    call_command("changepassword", "kim", stdout=StringIO())

    user.refresh_from_db()
    assert user.check_password("a-new-secret")
    assert details("user:changed") == {"user": "kim", "password": "changed"}


@pytest.mark.django_db(transaction=True)
def test_account_that_is_saved_elsewhere_is_recorded_right_after() -> None:
    user = User.objects.create_superuser("root", "", "x")
    user.is_active = False
    user.save()

    assert events() == [("", "user:changed", "system")] * 2


@pytest.mark.django_db(transaction=True)
def test_failed_record_of_an_account_saved_elsewhere_is_raised_and_logged(
    no_audit: None,
) -> None:
    with pytest.raises(DatabaseError), structlog.testing.capture_logs() as logs:
        User.objects.create_superuser("root", "", "x")

    assert [name for name, _password, _is_superuser in accounts_and_flags()] == ["root"]
    assert [entry["event"] for entry in logs] == ["audit_write_failed"]


def test_fixture_is_loaded_without_records(tmp_path: Path) -> None:
    factories.user("kim", role="viewer")
    fixture = tmp_path / "people.json"
    rows = [*User.objects.all(), *Membership.objects.all()]
    fixture.write_text(serializers.serialize("json", rows))
    User.objects.all().delete()
    before = events()

    call_command("loaddata", str(fixture), verbosity=0)  # they are new
    call_command("loaddata", str(fixture), verbosity=0)  # they are there

    assert list(Membership.objects.values_list("user__username", "role")) == [("kim", "viewer")]
    assert events() == before


def test_who_changes_an_account_on_the_pages_is_named() -> None:
    factories.user("root", password="right", is_staff=True, is_superuser=True)
    other = factories.user("kim", role="viewer")
    client = signed_in("root")
    page = f"/admin/auth/user/{other.pk}/delete/"

    client.post(page, {"post": "yes"}, REMOTE_ADDR="10.9.9.9")

    entry = AuditRecord.objects.get(event="membership:removed")
    assert (entry.actor, entry.actor_kind, entry.channel) == ("root", "operator", "admin")
    assert entry.source_address == "10.9.9.9"
    # The request is over.
    assert accounts._current_actor("x").id == "system"


def test_every_chain_holds_after_all_that(api: Api) -> None:
    assert connection.vendor in ("sqlite", "postgresql")
    user = factories.user("kim", role="admin", password="right", is_staff=True)
    signed_in("kim")
    login(api, "kim", "wrong", "tenant1")
    user.delete()

    for tenant in verify.tenants():
        assert isinstance(verify.verify(tenant), verify.IntactChain)


# --- what changing passwords must not cost or break -------------------------------------


@pytest.mark.parametrize("page", ["password", "own password"])
@pytest.mark.django_db(transaction=True)
def test_password_page_hashes_outside_its_transaction(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.user("root", is_staff=True, is_superuser=True, password="right")
    factories.user("kim", is_staff=True)
    were_open: list[bool] = []
    encode = MD5PasswordHasher.encode

    def watched(*args: Any, **kwargs: Any) -> str:
        were_open.append(connection.in_atomic_block)
        return str(encode(*args, **kwargs))

    monkeypatch.setattr(MD5PasswordHasher, "encode", watched)

    assert account_page(page) == 302
    assert were_open
    assert not any(were_open)


@pytest.mark.django_db(transaction=True)
def test_sign_in_session_is_one_that_the_version_before_accepts() -> None:
    factories.user("root", is_staff=True, is_superuser=True, password="right")
    client = browser()

    client.post("/admin/login/?next=/admin/", {"username": "root", "password": "right"})

    assert client.session[BACKEND_SESSION_KEY] == "django.contrib.auth.backends.ModelBackend"
    assert client.get("/admin/pages/").status_code == 200
