"""Too many failed sign-ins lock a name and address, or an address (docs/reference/wire.md, 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.gateway import lockout
from hitl.models import AuditRecord
from tests import factories
from tests.integration.calls import browser, handler_with_csrf_checks
from tests.integration.gateway.hashers import CountingHasher
from tests.integration.threads import together

pytestmark = pytest.mark.django_db

HERE, ELSEWHERE = "10.1.2.3", "10.1.2.4"
LIMIT = 5
LOCK_SECONDS = 15 * 60


@pytest.fixture(autouse=True)
def _counted_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{CountingHasher.__module__}.CountingHasher"]


@pytest.fixture(autouse=True)
def kim() -> User:
    return factories.user("kim", password="right", role="approver", is_staff=True)


def over_rest(
    username: str = "kim",
    password: str = "wrong",
    address: str = HERE,
    tenant: str = "tenant1",
    **headers: str,
) -> Any:
    """Log in over REST."""
    client = Client()
    client.handler = handler_with_csrf_checks()
    body = {"username": username, "password": password, "tenantId": tenant}
    return client.post(
        "/auth/login", json.dumps(body), "application/json", REMOTE_ADDR=address, headers=headers
    )


def at_the_desk(
    username: str = "kim", password: str = "wrong", address: str = HERE, **headers: str
) -> Any:
    """Sign in at the desk."""
    form = {"username": username, "password": password}
    return browser().post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address, headers=headers)


SignIn = Callable[..., Any]
both = pytest.mark.parametrize("sign_in", [over_rest, at_the_desk])
# What a failed and a good sign-in is answered.
FAILED = {over_rest: 401, at_the_desk: 200}
GOOD = {over_rest: 200, at_the_desk: 302}


def fail(sign_in: SignIn, times: int, **how: Any) -> None:
    for _ in range(times):
        assert sign_in(**how).status_code == FAILED[sign_in]


def later(seconds: float) -> None:
    """Have all that has failed so far have failed so much earlier."""
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(seconds=seconds))


def locks() -> list[dict[str, Any]]:
    """Return the details of the records of locks, with their actor and address."""
    records = AuditRecord.objects.filter(event="user:sign_in_locked").order_by("id")
    return [
        {"actor": record.actor, "from": record.source_address, **json.loads(record.details)}
        for record in records
    ]


# --- what is locked ---------------------------------------------------------------------


@both
def test_five_failures_lock_the_name_at_its_address(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT)

    assert sign_in(password="right").status_code == 429
    assert sign_in(password="wrong").status_code == 429


@both
def test_lock_is_the_same_at_both_sign_ins(sign_in: SignIn) -> None:
    other = at_the_desk if sign_in is over_rest else over_rest
    fail(sign_in, 3)
    fail(other, 2)

    assert (sign_in(password="right").status_code, other(password="right").status_code) == (
        429,
        429,
    )


@both
def test_others_and_other_addresses_sign_in_meanwhile(sign_in: SignIn) -> None:
    factories.user("lee", password="right", role="approver", is_staff=True)
    fail(sign_in, LIMIT)

    assert sign_in("lee", "right").status_code == GOOD[sign_in]
    assert sign_in("kim", "right", ELSEWHERE).status_code == GOOD[sign_in]


@both
def test_success_forgets_the_failures_of_its_name_and_address_alone(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT - 1)
    fail(sign_in, LIMIT - 1, address=ELSEWHERE)
    fail(sign_in, LIMIT - 1, username="lee")

    assert sign_in(password="right").status_code == GOOD[sign_in]

    fail(sign_in, LIMIT - 1)
    for how in ({"address": ELSEWHERE}, {"username": "lee"}):
        fail(sign_in, 1, **how)
        assert sign_in(**how).status_code == 429


@both
def test_address_is_locked_for_every_name_at_a_higher_count(sign_in: SignIn) -> None:
    for number in range(lockout.ADDRESS_LIMIT):
        fail(sign_in, 1, username=f"name{number}")

    assert sign_in(password="right").status_code == 429
    assert sign_in("never tried", "x").status_code == 429
    assert sign_in(password="right", address=ELSEWHERE).status_code == GOOD[sign_in]


@pytest.mark.parametrize("address", ["", "not an address", "::"])
def test_unknown_address_is_many_peoples_and_locked_for_one_name(address: str) -> None:
    for number in range(lockout.ADDRESS_LIMIT + 1):
        fail(over_rest, 1, username=f"name{number}", address=address)

    assert over_rest(password="right", address=address).status_code == 200
    fail(over_rest, LIMIT, address=address)
    assert over_rest(password="right", address=address).status_code == 429


def test_network_of_ipv6_is_one_address() -> None:
    for number in range(LIMIT):
        fail(over_rest, 1, address=f"2001:db8:1:2::{number:x}")

    assert over_rest(password="right", address="2001:db8:1:2:ffff::1").status_code == 429
    assert over_rest(password="right", address="2001:db8:1:3::1").status_code == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::"),
        ("2001:DB8::1", "2001:db8::"),
        ("10.1.2.3", "10.1.2.3"),
        (None, "::"),
    ],
)
def test_spellings_of_an_address_are_one(address: str | None, network: str) -> None:
    assert lockout.network_of(address) == network


@both
@pytest.mark.parametrize("spelled", [" kim", "kim  ", "ｋｉｍ", "\u3000kim"])
def test_spellings_that_the_form_takes_for_one_name_are_one(sign_in: SignIn, spelled: str) -> None:
    fail(sign_in, LIMIT - 1, username=spelled)
    fail(sign_in, 1)

    assert sign_in(password="right").status_code == 429


def test_right_password_in_a_wrong_tenant_is_a_failure() -> None:
    fail(over_rest, LIMIT, password="right", tenant="tenant2")

    assert over_rest(password="right").status_code == 429


def test_right_password_of_somebody_who_may_not_enter_the_desk_is_a_failure() -> None:
    factories.user("lee", password="right", role="approver")

    fail(at_the_desk, LIMIT, username="lee", password="right")

    assert at_the_desk("lee", "right").status_code == 429


@pytest.mark.parametrize("username", ["ﷺ" * 150, "x" * 150, "   ", "*", "a" * 149 + "\u0301"])
def test_any_name_that_is_accepted_is_counted(username: str) -> None:
    fail(over_rest, LIMIT, username=username)

    assert over_rest(username).status_code == 429


# --- how long ---------------------------------------------------------------------------


@both
def test_lock_ends_by_itself_after_a_quarter_of_an_hour(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT)
    later(LOCK_SECONDS - 5)
    assert sign_in(password="right").status_code == 429

    later(5)

    assert sign_in(password="right").status_code == GOOD[sign_in]


@both
def test_attempts_during_a_lock_do_not_prolong_it(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT)
    later(LOCK_SECONDS - 5)
    for _ in range(10):
        assert sign_in().status_code == 429

    later(5)

    fail(sign_in, LIMIT)
    assert sign_in().status_code == 429


@both
def test_failures_long_ago_do_not_count(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT - 1)
    later(LOCK_SECONDS)

    fail(sign_in, LIMIT)


def test_lock_of_an_address_ends_with_the_oldest_failures_that_made_it() -> None:
    for number in range(lockout.ADDRESS_LIMIT - 1):
        fail(over_rest, 1, username=f"name{number}")
    later(600)
    fail(over_rest, 1, username="last")

    assert 295 <= int(over_rest(password="right")["Retry-After"]) <= 300
    later(300)
    assert over_rest(password="right").status_code == 200


# --- what it is answered ----------------------------------------------------------------


def told(answer: HttpResponse) -> tuple[Any, ...]:
    headers = {name: value for name, value in answer.items() if name != "Retry-After"}
    body = answer.content
    if answer["Content-Type"] == "application/json":
        members = json.loads(body)
        members.pop("timestamp")
        body = repr(members).encode()
    return answer.status_code, body, headers


def test_rest_is_answered_in_the_envelope() -> None:
    fail(over_rest, LIMIT)
    later(60)

    answer = over_rest(password="right")

    body = answer.json()
    assert (body["errorCode"], body["success"]) == ("E4290", False)
    assert body["message"] == "Too many sign-ins have failed. Wait 14 min, then try again."
    assert 835 <= int(answer["Retry-After"]) <= 840
    assert answer["Content-Type"] == "application/json"
    korean = over_rest(password="right", **{"Accept-Language": "ko"}).json()
    assert "14분" in korean["message"]


def test_desk_is_answered_a_page_that_says_what_to_do() -> None:
    fail(at_the_desk, LIMIT)

    answer = at_the_desk(password="right")

    said = answer.content.decode()
    assert "Wait 15 min, then try again." in said
    assert '<link rel="stylesheet" href="/static/hitl/admin.css">' in said
    assert 'href="/admin/login/"' in said
    assert "Approvals" in said
    assert "Django" not in said
    assert 895 <= int(answer["Retry-After"]) <= 900
    assert "_auth_user_id" not in browser().session


@both
def test_names_that_nobody_has_are_locked_with_the_same_bytes_and_the_same_work(
    sign_in: SignIn,
) -> None:
    found = {}
    for name in ("kim", "nobody"):  # the first record of a chain takes more
        fail(sign_in, 1, username=name, address=ELSEWHERE)
    for name in ("kim", "nobody"):
        steps = []
        shown: tuple[Any, ...] = ()
        for _ in range(LIMIT + 2):
            CountingHasher.computed = 0
            with CaptureQueriesContext(connection) as queries:
                answer = sign_in(username=name)
            shown = told(answer)
            steps.append((shown[0], CountingHasher.computed, len(queries)))
        found[name] = (steps, repr(shown).replace(name, "NAME"))

    assert found["kim"][0] == found["nobody"][0]
    if sign_in is over_rest:
        assert found["kim"][1] == found["nobody"][1]


@both
def test_locked_attempt_hashes_nothing_writes_nothing_and_tells_nothing(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT)
    records = AuditRecord.objects.count()
    said = {}
    for password in ("right", "wrong"):
        CountingHasher.computed = 0
        with CaptureQueriesContext(connection) as queries:
            said[password] = told(sign_in(password=password))
        assert CountingHasher.computed == 0
        statements = [query["sql"] for query in queries]
        assert not [sql for sql in statements if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
        assert len(statements) <= 2, statements

    if sign_in is over_rest:
        assert said["right"] == said["wrong"]
    assert AuditRecord.objects.count() == records


@both
def test_failure_costs_the_same_whether_it_is_the_first_or_not(sign_in: SignIn) -> None:
    fail(sign_in, 1, address=ELSEWHERE)
    counts = []
    for _ in range(LIMIT - 1):
        with CaptureQueriesContext(connection) as queries:
            sign_in()
        counts.append(len(queries))

    assert len(set(counts)) == 1, counts


# --- what is kept -----------------------------------------------------------------------


@both
def test_lock_is_in_the_audit_once(sign_in: SignIn) -> None:
    fail(sign_in, LIMIT)
    for _ in range(3):
        sign_in()

    assert locks() == [
        {
            "actor": "kim",
            "from": HERE,
            "locked": "name and address",
            "address": HERE,
            "failures": LIMIT,
        }
    ]
    assert AuditRecord.objects.filter(event="user:sign_in_failed").count() == LIMIT


def test_lock_of_an_address_is_in_the_audit_once() -> None:
    for number in range(lockout.ADDRESS_LIMIT):
        fail(over_rest, 1, username=f"name{number}")
    for number in range(3):
        over_rest(f"more{number}")

    assert locks() == [
        {
            "actor": f"name{lockout.ADDRESS_LIMIT - 1}",
            "from": HERE,
            "locked": "address",
            "address": HERE,
            "failures": lockout.ADDRESS_LIMIT,
        }
    ]


UNLOCKS = {
    "name": (["axes_reset_username", " kim "], {"user": " kim ", "address": ""}),
    "address": (["axes_reset_ip", HERE], {"user": "", "address": HERE}),
    "both": (["axes_reset_ip_username", HERE, "kim"], {"user": "kim", "address": HERE}),
    "everything": (["axes_reset"], {"user": "", "address": ""}),
}


@pytest.mark.parametrize(("command", "details"), UNLOCKS.values(), ids=UNLOCKS.keys())
def test_commands_unlock_and_are_audited(command: list[str], details: dict[str, str]) -> None:
    fail(over_rest, LIMIT)

    call_command(*command, stdout=StringIO())

    assert over_rest(password="right").status_code == 200
    record = AuditRecord.objects.get(event="user:sign_in_unlocked")
    assert (record.tenant_id, record.actor, record.channel) == ("", "system", "command")
    assert json.loads(record.details) == details


def test_unlocking_another_changes_nothing_and_is_not_audited() -> None:
    fail(over_rest, LIMIT)

    for command in (["axes_reset_username", "lee"], ["axes_reset_ip", ELSEWHERE]):
        call_command(*command, stdout=StringIO())

    assert over_rest(password="right").status_code == 429
    assert not AuditRecord.objects.filter(event="user:sign_in_unlocked").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["axes_reset_ip", "notanip"],
        ["axes_reset_ip", ""],
        ["axes_reset_ip", "203.0.113.7:80"],
        ["axes_reset_ip_username", "notanip", "kim"],
    ],
)
def test_text_that_is_no_address_unlocks_nobody(command: list[str]) -> None:
    fail(over_rest, LIMIT, address="")
    fail(over_rest, LIMIT)

    with pytest.raises(CommandError, match="is no address"):
        call_command(*command, stdout=StringIO())

    assert over_rest(password="right", address="").status_code == 429
    assert over_rest(password="right").status_code == 429


def test_unknown_address_can_be_unlocked_and_an_empty_name_is_nobodys() -> None:
    fail(over_rest, LIMIT, address="")

    call_command("axes_reset_username", "", stdout=StringIO())
    assert over_rest(password="right", address="").status_code == 429
    call_command("axes_reset_ip", "::", stdout=StringIO())

    assert over_rest(password="right", address="").status_code == 200


def test_neither_password_nor_form_is_kept() -> None:
    fail(over_rest, 1, password="hunter2-secret")
    fail(at_the_desk, 1, password="hunter2-secret")

    assert "hunter2" not in repr(list(AccessAttempt.objects.values()))
    assert "csrf" not in repr(list(AccessAttempt.objects.values()))
    assert not AccessLog.objects.exists()
    assert not AccessFailureLog.objects.exists()


def test_failures_of_many_names_are_few_rows_and_are_removed() -> None:
    for number in range(lockout.ADDRESS_LIMIT + 20):
        over_rest(f"name{number}")

    assert AccessAttempt.objects.count() == lockout.ADDRESS_LIMIT + 1
    assert lockout.remove_expired() == 0
    later(LOCK_SECONDS)
    assert lockout.remove_expired() == lockout.ADDRESS_LIMIT + 1
    assert not AccessAttempt.objects.exists()


def test_superuser_sees_no_pages_of_axes() -> None:
    factories.user("root", password="x", is_staff=True, is_superuser=True)

    page = browser(User.objects.get(username="root")).get("/admin/pages/")

    assert "axes" not in page.content.decode().lower()


# --- the page on which people change their password -------------------------------------


def change_password(kim: User, old: str = "wrong", address: str = HERE) -> Any:
    """Change kim's password at the desk, where kim is signed in."""
    new = "a-Horse-on-9-stairs"
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    return browser(kim).post("/admin/password_change/", form, REMOTE_ADDR=address)


def test_five_wrong_old_passwords_lock_the_name_at_its_address(kim: User) -> None:
    for _ in range(LIMIT):
        assert change_password(kim).status_code == 200

    CountingHasher.computed = 0
    for old in ("right", "wrong"):
        answer = change_password(kim, old)
        assert answer.status_code == 429
        assert "Retry-After" in answer
    assert CountingHasher.computed == 0
    assert at_the_desk(password="right").status_code == 429
    assert change_password(kim, "right", ELSEWHERE).status_code == 302


def test_wrong_old_passwords_count_with_failed_sign_ins_until_a_right_one(kim: User) -> None:
    for _ in range(2):
        fail(at_the_desk, 2)
        assert [change_password(kim).status_code for _ in range(2)] == [200, 200]
        assert change_password(kim, "right").status_code == 302
        kim.set_password("right")
        kim.save()


def test_wrong_old_passwords_are_audited_and_so_is_the_lock(kim: User) -> None:
    for _ in range(LIMIT + 2):
        change_password(kim)

    failed = AuditRecord.objects.filter(event="user:sign_in_failed")
    assert [(record.actor, record.tenant_id, record.details) for record in failed] == [
        ("kim", "tenant1", '{"why":"wrong old password"}')
    ] * LIMIT
    assert [(lock["actor"], lock["address"]) for lock in locks()] == [("kim", HERE)]


# --- at the same moment -----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_failures_at_the_same_moment_are_all_counted_and_lock_once() -> None:
    over_rest(address=ELSEWHERE)
    together([over_rest] * 8)

    row = AccessAttempt.objects.get(username="kim", ip_address=HERE)
    assert row.failures_since_start >= LIMIT
    assert over_rest(password="right").status_code == 429
    assert len(locks()) == 1


@pytest.mark.django_db(transaction=True)
def test_failures_of_many_names_at_the_same_moment_lock_their_address_once() -> None:
    AccessAttempt.objects.bulk_create(
        AccessAttempt(
            username=f"old{number}", ip_address=HERE, user_agent="", failures_since_start=1
        )
        for number in range(lockout.ADDRESS_LIMIT - 4)
    )

    together([lambda number=n: over_rest(f"new{number}") for n in range(8)])  # type: ignore[misc]

    assert over_rest(password="right").status_code == 429
    assert [lock["locked"] for lock in locks()] == ["address"]


@pytest.mark.django_db(transaction=True)
def test_right_passwords_at_the_same_moment_are_all_let_in() -> None:
    answers = together([lambda: over_rest(password="right") for _ in range(8)])

    assert [answer.status_code for answer in answers] == [200] * 8
