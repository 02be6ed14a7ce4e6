"""A token that our own login minted follows its account (docs/reference/wire.md, 1)."""

from __future__ import annotations

from collections.abc import Callable

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.gateway import accounts, tokens
from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.exchange import call
from tests.people import OTHER_TENANT, TENANT
from tests.services import JWT_SECRET

pytestmark = pytest.mark.django_db


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the accounts, which nobody has asked for yet."""
    made = Clock()
    monkeypatch.setattr(accounts, "_roles", accounts.AccountRoles(timer=made))
    return made


@pytest.fixture
def kim() -> User:
    return factories.user("kim", password="right", role="approver")


def login(api: Api, tenant: str = TENANT) -> dict[str, str]:
    """Log in, and return the headers of kim's calls."""
    body = {"username": "kim", "password": "right", "tenantId": tenant}
    token = api.post("/auth/login", None, body).data["accessToken"]
    return {"Authorization": f"Bearer {token}", "X-Tenant-ID": tenant}


def approve(api: Api, headers: dict[str, str]) -> Answer:
    request = factories.opened()
    return api.post(f"/aura/hitl/approve/{request.request_id}", headers=headers)


def invalid(api: Api) -> Answer:
    """Return the answer to a token that never was one."""
    headers = {"Authorization": "Bearer x.y.z", "X-Tenant-ID": TENANT}
    return api.post("/aura/hitl/approve/req_1", headers=headers)


def with_claims(headers: dict[str, str], **changes: object) -> dict[str, str]:
    """Return the headers with the token's claims changed, signed again."""
    claims = jwt.decode(headers["Authorization"].split()[1], JWT_SECRET, ["HS256"]) | changes
    return {**headers, "Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, 'HS256')}"}


def set_password(user: User, password: str | None) -> None:
    user.set_password(password)
    user.save()


ENDS: dict[str, Callable[[User], object]] = {
    "membership removed": lambda user: user.memberships.get(tenant_id=TENANT).delete(),
    "account switched off": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "account removed": lambda user: user.delete(),
    "account renamed": lambda user: User.objects.filter(pk=user.pk).update(username="kim2"),
    "new password": lambda user: set_password(user, "another"),
    "no password": lambda user: set_password(user, None),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_token_ends_with_its_account_within_five_seconds(
    api: Api, kim: User, clock: Clock, end: Callable[[User], object]
) -> None:
    Membership.objects.create(user=kim, tenant_id=OTHER_TENANT, role="admin")
    headers = login(api)
    assert approve(api, headers).status == 200

    end(kim)
    clock.now += accounts.MAX_AGE_SECONDS

    answer = approve(api, headers)
    assert answer.refusal == (401, "E2003")
    assert answer.facts == invalid(api).facts
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_process_that_did_not_know_the_token_refuses_it_at_once(
    api: Api, kim: User, end: Callable[[User], object]
) -> None:
    headers = login(api)

    end(kim)

    assert approve(api, headers).refusal == (401, "E2003")


def test_role_is_the_memberships_and_not_the_tokens(api: Api, kim: User, clock: Clock) -> None:
    headers = login(api)

    for role, status in (("viewer", 403), ("admin", 200), ("viewer", 403), ("approver", 200)):
        kim.memberships.update(role=role)
        clock.now += accounts.MAX_AGE_SECONDS
        assert approve(api, headers).status == status
        assert api.get("/auth/me", headers=headers).data["roles"] == [role]


def test_account_is_asked_for_again_after_five_seconds_and_not_before(
    api: Api, kim: User, clock: Clock
) -> None:
    headers = login(api)
    assert approve(api, headers).status == 200
    kim.memberships.all().delete()

    clock.now += accounts.MAX_AGE_SECONDS - 0.1
    assert approve(api, headers).status == 200
    clock.now += 0.1
    assert approve(api, headers).status == 401


def test_member_who_comes_back_may_use_the_token_again(api: Api, kim: User, clock: Clock) -> None:
    headers = login(api)
    kim.memberships.all().delete()
    assert approve(api, headers).status == 401

    Membership.objects.create(user=kim, tenant_id=TENANT, role="approver")
    clock.now += accounts.MAX_AGE_SECONDS

    assert approve(api, headers).status == 200


def test_query_that_takes_long_makes_its_answer_no_younger(
    api: Api, kim: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = login(api)
    read = accounts._read_role

    def slowly(claims: tokens.Claims) -> str | None:
        role = read(claims)
        clock.now += 4
        return role

    monkeypatch.setattr(accounts, "_read_role", slowly)
    assert approve(api, headers).status == 200
    monkeypatch.setattr(accounts, "_read_role", read)
    kim.memberships.all().delete()

    clock.now += 1
    assert approve(api, headers).status == 401


def test_membership_of_another_tenant_does_not_help(api: Api, kim: User) -> None:
    Membership.objects.create(user=kim, tenant_id=OTHER_TENANT, role="admin")
    headers = login(api, OTHER_TENANT)
    forged = with_claims(headers, tenant_id="tenant3") | {"X-Tenant-ID": "tenant3"}

    assert api.get("/auth/me", headers=forged).refusal == (401, "E2003")


def test_token_of_somebody_else_with_this_account_is_invalid(api: Api, kim: User) -> None:
    headers = login(api)
    factories.user("lee", role="admin")

    for name in ("lee", "KIM", "nobody"):
        assert api.get("/auth/me", headers=with_claims(headers, sub=name)).refusal[0] == 401


def test_account_is_judged_with_the_token_and_before_the_tenant(api: Api, kim: User) -> None:
    headers = login(api)
    strange = {"X-Tenant-ID": OTHER_TENANT, "X-User-ID": "lee"}
    assert api.get("/auth/me", headers=headers | strange).refusal == (403, "E2007")
    kim.delete()

    without = {"Authorization": headers["Authorization"]}
    assert api.get("/auth/me", headers=without).refusal == (400, "E2006")
    invalid_now = with_claims(headers, exp=jwt_claims(headers)["exp"] - 1)
    accounts._roles._cache.clear()
    assert api.get("/auth/me", headers=invalid_now | strange).refusal == (401, "E2003")


def jwt_claims(headers: dict[str, str]) -> dict[str, int]:
    claims: dict[str, int] = jwt.decode(headers["Authorization"].split()[1], JWT_SECRET, ["HS256"])
    return claims


@pytest.mark.parametrize("acct", [1, "kim", "1.x", "1.0123456789abcdef012345 ", ["1"], "9" * 300])
def test_malformed_account_is_an_invalid_token(api: Api, kim: User, acct: object) -> None:
    answer = api.get("/auth/me", headers=with_claims(login(api), acct=acct))

    assert answer.refusal == (401, "E2003")


def test_token_without_account_outlives_everything(api: Api, kim: User) -> None:
    claims = jwt_claims(login(api))
    del claims["acct"]
    headers = {
        "Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, 'HS256')}",
        "X-Tenant-ID": TENANT,
    }
    kim.delete()

    assert approve(api, headers).status == 200


def test_token_outlives_a_change_of_the_secret_key(
    api: Api, kim: User, settings: Settings, clock: Clock
) -> None:
    headers = login(api)
    old = settings.SECRET_KEY

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key-" * 5, [old]
    assert approve(api, headers).status == 200

    clock.now += accounts.MAX_AGE_SECONDS
    settings.SECRET_KEY_FALLBACKS = []
    assert approve(api, headers).status == 401


def test_database_that_is_away_is_no_invalid_token_and_is_not_remembered(
    api: Api, kim: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = login(api)
    read = accounts._read_role

    def away(claims: tokens.Claims) -> str | None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(accounts, "_read_role", away)
    assert api.get("/auth/me", headers=headers).refusal == (503, "E5003")
    monkeypatch.setattr(accounts, "_read_role", read)

    assert api.get("/auth/me", headers=headers).status == 200


def test_token_costs_one_statement_more_and_none_while_it_is_known(api: Api, kim: User) -> None:
    headers = login(api)
    claims = jwt_claims(headers)
    del claims["acct"]
    plain = headers | {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, 'HS256')}"}
    approve(api, plain)  # the first record of a chain takes more

    counts = []
    for sent in (plain, headers, headers):
        request = factories.opened()
        with CaptureQueriesContext(connection) as queries:
            api.post(f"/aura/hitl/approve/{request.request_id}", headers=sent)
        counts.append(len(queries))

    assert [count - counts[0] for count in counts] == [0, 1, 0]


def test_roles_that_are_kept_are_bounded(kim: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MAX_ACCOUNTS", 10)
    monkeypatch.setattr(accounts, "_read_role", lambda claims: "viewer")
    roles = accounts.AccountRoles(timer=lambda: 0.0)

    for number in range(50):
        roles.role_of(tokens.Claims("kim", f"t{number}", None, None, 0, 1, "1.x"))

    assert len(roles._cache) == 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.anyio
async def test_stream_wait_and_session_ask_for_the_account_too(
    redis_client: object, fresh_hub: None
) -> None:
    user = await run_sync(lambda: factories.user("kim", password="right", role="approver"))
    api = Api()
    headers = await run_sync(login, api)
    request = await run_sync(factories.opened)
    urls = [
        "/aura/test/stream?message=test",
        "/aura/sessions/session-x/stream",
        f"/aura/hitl/requests/{request.request_id}/wait?timeout=1",
    ]
    before = [(await call("GET", url, headers=headers)).status for url in urls]

    await run_sync(user.delete)
    accounts._roles._cache.clear()

    assert before == [200, 404, 202]
    for url in urls:
        assert (await call("GET", url, headers=headers)).refusal == (401, "E2003")
