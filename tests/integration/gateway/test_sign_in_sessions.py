"""Sign-in sessions end after a shift, and when what their person may do changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from dwp_project.gateway.models import Membership
from dwp_project.gateway.passwords import SESSION_BACKEND
from dwp_project.offload import run_sync
from hitl.models import AuditRecord
from tests import factories
from tests.integration.calls import browser
from tests.integration.exchange import Exchange

pytestmark = pytest.mark.django_db

INBOX = "/admin/hitl/approvalrequest/inbox/?a=1&b=%ED%95%9C"
REASON = "Your access or your password has changed since you signed in. Sign in again."
# Django's validators take it.
PASSWORD, OTHER_PASSWORD = "a-Horse-on-9-stairs", "another-Horse-8"


def desk(**more: Any) -> User:
    return factories.user("desk", role="approver", password=PASSWORD, is_staff=True, **more)


def sign_in(username: str = "desk", password: str = PASSWORD) -> Client:
    client = browser()
    form = {"username": username, "password": password}
    assert client.post("/admin/login/?next=/admin/", form).status_code == 302
    return client


def is_signed_in(client: Client) -> bool:
    return client.get(INBOX).status_code == 200


def cookie_of(client: Client) -> str:
    return str(client.cookies["sessionid"].value)


CHANGES: dict[str, Callable[[User], Any]] = {
    "role lowered": lambda user: user.memberships.update(role="viewer"),
    "role raised": lambda user: user.memberships.update(role="admin"),
    "membership removed": lambda user: user.memberships.all().delete(),
    "membership of another tenant added": lambda user: Membership.objects.create(
        user=user, tenant_id="another", role="viewer"
    ),
    "staff status taken": lambda user: User.objects.filter(pk=user.pk).update(is_staff=False),
    "superuser status taken": lambda user: User.objects.filter(pk=user.pk).update(
        is_superuser=False
    ),
    "switched off": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "new password": lambda user: User.objects.filter(pk=user.pk).update(
        password=make_password(OTHER_PASSWORD)
    ),
    "removed": lambda user: user.delete(),
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


@every_change
def test_change_leads_to_the_sign_in_with_its_reason(change: Callable[[User], Any]) -> None:
    user = desk(is_superuser=True)
    client = sign_in()
    assert is_signed_in(client)

    change(user)
    answer = client.get(INBOX)

    assert answer.status_code == 302
    assert answer["Location"] == f"/admin/login/?next={quote(INBOX)}"
    page = client.get(answer["Location"]).content.decode()
    assert REASON in page
    assert f'name="next" value="{INBOX.replace("&", "&amp;")}"' in page
    assert REASON not in client.get(answer["Location"]).content.decode()
    assert not is_signed_in(client)


@every_change
def test_ended_session_stays_ended_when_the_change_is_undone(
    change: Callable[[User], Any],
) -> None:
    user = desk(is_superuser=True)
    client = sign_in()
    before = list(user.memberships.values("tenant_id", "role"))
    change(user)
    client.get(INBOX)

    User.objects.filter(pk=user.pk).update(
        is_staff=True, is_active=True, is_superuser=True, password=user.password
    )
    if User.objects.filter(pk=user.pk).exists():
        user.memberships.all().delete()
        for member in before:
            Membership.objects.create(user=user, **member)

    assert not is_signed_in(client)
    assert not Session.objects.filter(session_key=cookie_of(client)).exists()


def test_form_that_is_posted_after_the_change_does_nothing() -> None:
    user = desk()
    request = factories.opened()
    client = sign_in()
    user.memberships.update(role="admin")
    path = f"/admin/hitl/approvalrequest/{request.pk}/change/"

    answer = client.post(path, {"approve": "1", "context_digest": request.context_digest})

    assert answer["Location"].startswith("/admin/login/?next=")
    request.refresh_from_db()
    assert request.status == "pending"


def test_person_who_signs_in_again_has_what_they_may_do_now() -> None:
    user = desk()
    sign_in()
    user.memberships.update(role="viewer")
    client = sign_in()

    assert is_signed_in(client)
    user.memberships.update(role="viewer")  # no change
    assert is_signed_in(client)


def test_change_of_somebody_else_ends_nothing() -> None:
    desk()
    other = factories.user("lee", role="approver", password=PASSWORD, is_staff=True)
    client = sign_in()

    other.memberships.update(role="viewer")

    assert is_signed_in(client)


def test_sign_in_page_and_sign_out_work_with_an_ended_session() -> None:
    user = desk()
    client = sign_in()
    user.memberships.update(role="viewer")

    page = client.get("/admin/login/?next=/admin/")
    assert page.status_code == 200
    assert REASON in page.content.decode()

    client = sign_in()
    user.memberships.update(role="admin")
    assert client.post("/admin/logout/").status_code == 200
    assert not is_signed_in(client)


def test_end_of_a_session_is_in_the_audit() -> None:
    user = desk()
    client = sign_in()
    user.memberships.update(role="viewer")

    client.get(INBOX)

    assert list(AuditRecord.objects.order_by("id").values_list("event", "actor")) == [
        ("user:signed_in", "desk"),
        ("membership:changed", "system"),
        ("user:signed_out", "desk"),
    ]


def test_page_asks_for_nothing_more_than_before() -> None:
    desk()
    client = sign_in()
    client.get(INBOX)

    with CaptureQueriesContext(connection) as queries:
        client.get(INBOX)

    statements = [query["sql"] for query in queries]
    assert len([sql for sql in statements if "gateway_membership" in sql]) == 1
    assert not [sql for sql in statements if sql.startswith("UPDATE")]


# --- passwords --------------------------------------------------------------------------


def test_who_changes_their_own_password_stays_signed_in_there_and_nowhere_else() -> None:
    desk()
    here, elsewhere = sign_in(), sign_in()
    form = {
        "old_password": PASSWORD,
        "new_password1": OTHER_PASSWORD,
        "new_password2": OTHER_PASSWORD,
    }
    assert here.post("/admin/password_change/", form).status_code == 302

    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)


def test_password_that_an_administrator_sets_ends_the_persons_sessions() -> None:
    user = desk()
    factories.user("root", password=PASSWORD, is_staff=True, is_superuser=True)
    root, client = sign_in("root"), sign_in()
    form = {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD, "usable_password": "true"}
    assert root.post(f"/admin/auth/user/{user.pk}/password/", form).status_code == 302

    assert root.get(INBOX).status_code == 200
    assert not is_signed_in(client)


# --- how long ---------------------------------------------------------------------------


def test_session_ends_twelve_hours_after_the_sign_in_used_or_not() -> None:
    desk()
    client = sign_in()
    ends_at = Session.objects.get(session_key=cookie_of(client)).expire_date
    assert abs(ends_at - timezone.now() - timedelta(hours=12)) < timedelta(minutes=1)
    assert 43_100 < client.cookies["sessionid"]["max-age"] <= 43_200

    session = client.session
    session["a page"] = "changes it"
    session.save()
    assert is_signed_in(client)
    assert Session.objects.get(session_key=cookie_of(client)).expire_date == ends_at

    Session.objects.update(expire_date=timezone.now())
    assert not is_signed_in(client)


def test_change_of_the_own_password_makes_the_session_no_longer() -> None:
    desk()
    client = sign_in()
    ends_at = Session.objects.get(session_key=cookie_of(client)).expire_date
    form = {
        "old_password": PASSWORD,
        "new_password1": OTHER_PASSWORD,
        "new_password2": OTHER_PASSWORD,
    }
    client.post("/admin/password_change/", form)

    assert Session.objects.get(session_key=cookie_of(client)).expire_date == ends_at


# --- an update --------------------------------------------------------------------------


def signed_in_before_the_update(user: User) -> Client:
    """Return a browser whose session is as the version before made it."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = SESSION_BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    Session.objects.update(expire_date=timezone.now() + timedelta(days=14))
    client = browser()
    client.cookies["sessionid"] = str(session.session_key)
    return client


def test_session_of_before_the_update_goes_on_and_ends_as_others_do() -> None:
    user = desk()
    client = signed_in_before_the_update(user)

    assert is_signed_in(client)
    ends_at = Session.objects.get(session_key=cookie_of(client)).expire_date
    assert ends_at < timezone.now() + timedelta(hours=12, minutes=1)
    assert is_signed_in(client)
    user.memberships.update(role="viewer")
    assert not is_signed_in(client)


def test_sessions_name_the_backend_that_the_version_before_knows() -> None:
    desk()

    assert sign_in().session[BACKEND_SESSION_KEY] == SESSION_BACKEND


# --- streams of the pages ---------------------------------------------------------------

LIVE = "/admin/hitl/approvalrequest/live/"


async def status_of_the_stream(client: Client) -> int:
    headers = {"Cookie": f"sessionid={cookie_of(client)}"}
    async with Exchange("GET", LIVE, None, b"", headers) as exchange:
        return (await exchange.start())[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.anyio
@every_change
async def test_stream_is_refused_after_a_change(
    redis_client: object, change: Callable[[User], Any]
) -> None:
    user = await run_sync(lambda: desk(is_superuser=True))
    client = await run_sync(sign_in)
    assert await status_of_the_stream(client) == 200

    await run_sync(change, user)

    assert await status_of_the_stream(client) == 404
    # The session is left to the page, which says why it ends.
    assert (await run_sync(client.get, INBOX))["Location"].startswith("/admin/login/?next=")
    assert REASON in (await run_sync(client.get, "/admin/login/")).content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.anyio
async def test_stream_leaves_the_session_its_key_while_the_secret_key_changes(
    redis_client: object, settings: Settings
) -> None:
    await run_sync(desk)
    client = await run_sync(sign_in)
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key-" * 5, [old]

    assert await status_of_the_stream(client) == 200
    assert await run_sync(is_signed_in, client)
