"""Login, and what the front end asks for when it starts (docs/reference/wire.md, 6)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.gateway import tokens
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.gateway.hashers import CountingHasher
from tests.people import REQUESTER, make_token

pytestmark = pytest.mark.django_db

MENU = {
    "menuKey": "menu.ai-workspace",
    "menuName": "AI Workspace",
    "path": "/ai-workspace",
    "icon": "sparkles",
    "group": "AI",
    "depth": 1,
    "sortOrder": 1,
    "children": [],
}
PERMISSION = {
    "resourceType": "MENU",
    "resourceKey": "menu.ai-workspace",
    "permissionCode": "VIEW",
    "effect": "ALLOW",
}


@pytest.fixture(autouse=True)
def _counted_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{CountingHasher.__module__}.CountingHasher"]


@pytest.fixture
def member() -> None:
    factories.user("kim", password="right", role="approver", email="kim@example.com")


def login(
    api: Api, username: Any = "kim", password: Any = "right", tenant: Any = "tenant1"
) -> Answer:
    body = {"username": username, "password": password, "tenantId": tenant}
    return api.post("/auth/login", None, body)


def test_login_answers_as_the_contract_shows(api: Api, member: None) -> None:
    answer = login(api)

    data = answer.data
    assert answer.status == 200
    assert list(data) == [
        "accessToken",
        "tokenType",
        "expiresIn",
        "userId",
        "tenantId",
        "permissions",
        "menus",
    ]
    assert (data["tokenType"], data["userId"], data["tenantId"]) == ("Bearer", "kim", "tenant1")
    assert data["permissions"] == [PERMISSION]
    assert data["menus"] == [MENU]


def test_token_of_a_login_works_and_says_who(api: Api, member: None) -> None:
    before = int(time.time())
    data = login(api).data

    claims = tokens.verify(data["accessToken"].encode())

    assert (claims.user_id, claims.tenant_id, claims.role) == ("kim", "tenant1", "approver")
    assert claims.expires_at - claims.issued_at == data["expiresIn"]
    assert before <= claims.issued_at <= int(time.time())
    headers = {"Authorization": f"Bearer {data['accessToken']}", "X-Tenant-ID": "tenant1"}
    me = api.get("/auth/me", headers=headers).data
    assert me == {
        "userId": "kim",
        "displayName": "kim",
        "email": "kim@example.com",
        "tenantId": "tenant1",
        "tenantCode": "tenant1",
        "roles": ["approver"],
    }


@pytest.mark.parametrize("odd", ["", ">>>???~~~", "a~b?c>", "~", "a?", "ab>"])
def test_token_of_a_login_is_what_atob_decodes(api: Api, odd: str) -> None:
    name, tenant = "김철수", f"테넌트{odd}"
    factories.user(name, password="비밀", role="admin", tenant_id=tenant, email=f"{odd}k@b.c")

    data = login(api, name, "비밀", tenant).data

    payload = data["accessToken"].split(".")[1]
    # As `atob`: the alphabet of base64, padding or none, and each byte a character.
    claims = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True))
    assert base64.b64decode(payload + "==").isascii()
    assert claims.keys() == {"sub", "tenant_id", "role", "acct", "iat", "exp"}
    assert (claims["sub"], claims["tenant_id"], claims["role"]) == (name, tenant, "admin")
    headers = {"Authorization": f"Bearer {data['accessToken']}", "X-Tenant-ID": tenant}
    assert api.get("/auth/me", headers=headers).data["email"] == f"{odd}k@b.c"


REFUSED = {
    "wrong password": ("kim", "wrong", "tenant1"),
    "wrong tenant": ("kim", "right", "tenant2"),
    "no such user": ("nobody", "right", "tenant1"),
    "inactive": ("lee", "right", "tenant1"),
    "no password": ("park", "right", "tenant1"),
    "another case": ("KIM", "right", "tenant1"),
    "padded password": ("kim", "right ", "tenant1"),
}


def test_refused_logins_cannot_be_told_apart(api: Api, member: None) -> None:
    factories.user("lee", password="right", role="approver", is_active=False)
    factories.user("park", role="approver")
    told, work = {}, {}
    # The first record of a chain takes more; a deployment's have long been written.
    for username in ("kim", "nobody"):
        login(api, username, "wrong", "tenant1")

    for why, (username, password, tenant) in REFUSED.items():
        CountingHasher.computed = 0
        with CaptureQueriesContext(connection) as queries:
            answer = login(api, username, password, tenant)
        assert answer.refusal == (401, "E2004")
        told[why] = answer.facts
        work[why] = (CountingHasher.computed, len(queries))

    assert len({repr(facts) for facts in told.values()}) == 1
    assert set(work.values()) == {work["wrong password"]}, work
    assert work["wrong password"][0] >= 1


@pytest.mark.parametrize(
    ("member_name", "value"),
    [
        ("username", "a\x00"),
        ("password", "a\x00"),
        ("tenantId", "a\x00"),
        ("username", ""),
        ("password", ""),
        ("tenantId", ""),
        ("username", None),
        ("password", ["right"]),
        ("tenantId", {"a": 1}),
        ("username", "x" * 151),
        ("password", "x" * 4097),
        ("tenantId", "x" * 256),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_login_with_an_unusable_member_fails_validation(
    api: Api, member: None, member_name: str, value: Any
) -> None:
    body = {"username": "kim", "password": "right", "tenantId": "tenant1", member_name: value}
    CountingHasher.computed = 0

    assert api.post("/auth/login", None, body).refusal == (400, "E4000")
    assert CountingHasher.computed == 0


def test_login_of_a_megabyte_is_too_large(api: Api) -> None:
    assert login(api, password="x" * 1024 * 1024).refusal == (413, "E4130")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"username=kim"])
def test_login_without_a_usable_body_fails_validation(api: Api, body: bytes) -> None:
    assert api.post("/auth/login", None, body).refusal == (400, "E4000")


# --- what the front end asks for when it starts -------------------------------------------


def test_policy_is_public_and_local(api: Api) -> None:
    answer = api.get("/auth/policy", headers={"X-Tenant-ID": "tenant1"})

    assert answer.status == 200
    assert answer.data == {
        "tenantId": "tenant1",
        "defaultLoginType": "LOCAL",
        "allowedLoginTypes": ["LOCAL"],
        "localLoginEnabled": True,
        "ssoLoginEnabled": False,
        "requireMfa": False,
    }
    assert api.get("/auth/policy").status == 200


def test_identity_providers_are_public_and_none(api: Api) -> None:
    assert api.get("/auth/idp").data == []


def test_permissions_are_those_of_the_contract(api: Api) -> None:
    assert api.get("/auth/permissions", REQUESTER).data == [PERMISSION]


def test_menus_are_those_of_the_contract(api: Api) -> None:
    assert api.get("/auth/menus/tree", REQUESTER).data == {"menus": [MENU]}


def test_me_needs_no_row_in_the_database(api: Api) -> None:
    assert api.get("/auth/me", REQUESTER).data == {
        "userId": "user123",
        "displayName": "user123",
        "email": "",
        "tenantId": "tenant1",
        "tenantCode": "tenant1",
        "roles": ["user"],
    }


def test_me_names_the_user_as_the_database_does(api: Api) -> None:
    factories.user("kim", first_name="Chulsoo", last_name="Kim", email="kim@example.com")
    headers = {"Authorization": f"Bearer {make_token('kim')}", "X-Tenant-ID": "tenant1"}

    me = api.get("/auth/me", headers=headers).data

    assert (me["displayName"], me["email"]) == ("Chulsoo Kim", "kim@example.com")
