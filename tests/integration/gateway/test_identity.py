"""The order of checks on every path that needs a tenant (docs/reference/wire.md, 1)."""

from __future__ import annotations

import pytest

from tests import factories
from tests.integration.calls import Answer, Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person, make_token

pytestmark = pytest.mark.django_db

# Every tenant path that Django's views answer; the stream and the wait have their own tests.
PATHS = [
    ("POST", "/aura/hitl/approve/req_1"),
    ("POST", "/aura/hitl/reject/req_1"),
    ("GET", "/aura/hitl/requests"),
    ("POST", "/aura/hitl/requests"),
    ("GET", "/aura/hitl/requests/req_1"),
    ("POST", "/aura/hitl/requests/req_1/cancel"),
    ("GET", "/aura/hitl/signals/session_1"),
    ("POST", "/aura/sessions/session_1/cancel"),
    ("GET", "/auth/me"),
    ("GET", "/auth/permissions"),
    ("GET", "/auth/menus/tree"),
]
WITH_BODY = [path for method, path in PATHS if method == "POST" and "sessions" not in path]
# Paths that look up something which does not exist, so that the look-up is the last check.
LOOKING_UP = [path for _, path in PATHS if "_1" in path and "signals" not in path]

every_path = pytest.mark.parametrize(("method", "path"), PATHS, ids=lambda part: part)
TENANT = {"X-Tenant-ID": "tenant1"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@every_path
def test_path_is_judged_first(api: Api, method: str, path: str) -> None:
    assert api.send(method, f"{path}/nothing/here").refusal == (404, "E1004")


@every_path
def test_tenant_header_is_judged_before_the_token(api: Api, method: str, path: str) -> None:
    for headers in ({}, {"X-Tenant-ID": ""}, {"X-Tenant-ID": "  "}):
        for token in ({}, bearer("no token"), bearer(REQUESTER.token)):
            assert api.send(method, path, headers=headers | token).refusal == (400, "E2006")


@every_path
def test_token_is_asked_for(api: Api, method: str, path: str) -> None:
    for sent in ({}, {"Authorization": ""}, {"Authorization": "Basic dTpw"}):
        answer = api.send(method, path, headers=TENANT | sent)
        assert answer.refusal == (401, "E2000")
        assert answer.headers["www-authenticate"] == "Bearer"


@every_path
def test_token_is_judged_before_the_tenant_match(api: Api, method: str, path: str) -> None:
    other = {"X-Tenant-ID": "tenant2"}
    broken = {"Authorization": f"Bearer {REQUESTER.token[:-2]}"}
    two_parts = {"Authorization": f"Bearer {REQUESTER.token} x"}
    not_ascii = {"Authorization": "Bearer é"}

    for sent in (broken, two_parts, not_ascii):
        assert api.send(method, path, headers=other | sent).refusal == (401, "E2003")


@every_path
def test_tenant_match_is_judged_before_the_user_match(api: Api, method: str, path: str) -> None:
    headers = {"X-Tenant-ID": "tenant2", "X-User-ID": "somebody-else"}

    assert api.send(method, path, REQUESTER, headers=headers).refusal == (403, "E2007")


@every_path
def test_user_match_is_judged_before_the_body(api: Api, method: str, path: str) -> None:
    answer = api.send(method, path, REQUESTER, b"{", headers={"X-User-ID": "somebody-else"})

    assert answer.refusal == (403, "E2001")


@pytest.mark.parametrize("path", WITH_BODY)
def test_body_is_judged_before_the_look_up(api: Api, path: str) -> None:
    assert api.post(path, REQUESTER, b"{").refusal == (400, "E4000")
    assert api.post(path, REQUESTER, b" " * (256 * 1024 + 1)).refusal == (413, "E4130")


@pytest.mark.parametrize("path", WITH_BODY)
def test_identity_is_judged_before_the_body(api: Api, path: str) -> None:
    for body in (b"{", b" " * (256 * 1024 + 1)):
        assert api.post(path, None, body).refusal == (400, "E2006")
        assert api.post(path, None, body, headers=TENANT).refusal == (401, "E2000")


@pytest.mark.parametrize("path", LOOKING_UP)
def test_look_up_comes_last(api: Api, path: str) -> None:
    method = "GET" if path.endswith("requests/req_1") else "POST"

    assert api.send(method, path, REQUESTER).refusal == (404, "E1004")


@every_path
def test_user_header_that_equals_the_subject_is_fine(api: Api, method: str, path: str) -> None:
    answer = api.send(method, path, REQUESTER, headers={"X-User-ID": "user123"})

    assert answer.status not in (400, 401, 403) or answer.body["errorCode"] == "E4000"


def test_ids_may_be_korean(api: Api) -> None:
    person = Person("김철수", "테넌트-1", "user")
    headers = {
        "X-Tenant-ID": "테넌트-1".encode().decode("latin-1"),
        "X-User-ID": "김철수".encode().decode("latin-1"),
    }

    answer = api.get("/auth/me", person, headers=headers)

    assert answer.status == 200
    assert (answer.data["userId"], answer.data["tenantId"]) == ("김철수", "테넌트-1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/aura/health"),
        ("GET", "/aura/agents/health"),
        ("GET", "/main/health"),
        ("GET", "/auth/health"),
        ("GET", "/auth/policy"),
        ("GET", "/auth/idp"),
        ("GET", "/schema/"),
    ],
)
@pytest.mark.parametrize(
    "stale",
    ["Bearer no.token.at-all", "Basic x", "Bearer é", ""],
)
def test_public_path_ignores_a_stale_authorization(
    api: Api, method: str, path: str, stale: str
) -> None:
    assert api.send(method, path, headers={"Authorization": stale}).status == 200


def test_login_ignores_a_stale_authorization(api: Api) -> None:
    body = {"username": "a", "password": "b", "tenantId": "tenant1"}

    answer = api.post("/auth/login", None, body, headers=bearer("stale"))

    assert answer.refusal == (401, "E2004")


# --- who may decide: the role of the token, of the membership, of nobody ------------------


def approve_as(api: Api, user_id: str, role: str | None) -> Answer:
    request = factories.opened()
    headers = TENANT | bearer(make_token(user_id, role=role))
    return api.post(f"/aura/hitl/approve/{request.request_id}", headers=headers)


@pytest.mark.parametrize("role", ["approver", "admin"])
def test_token_without_a_role_has_that_of_the_membership(api: Api, role: str) -> None:
    factories.user("kim", role=role)

    assert approve_as(api, "kim", None).status == 200
    assert api.get("/auth/me", headers=TENANT | bearer(make_token("kim", role=None))).data[
        "roles"
    ] == [role]


def test_token_without_a_role_or_membership_is_a_users(api: Api) -> None:
    factories.user("kim", role="approver", tenant_id="tenant2")
    factories.user("lee", role="approver", is_active=False)

    assert approve_as(api, "kim", None).refusal == (403, "E2001")
    assert approve_as(api, "lee", None).refusal == (403, "E2001")
    assert approve_as(api, "nobody", None).refusal == (403, "E2001")
    me = api.get("/auth/me", headers=TENANT | bearer(make_token("nobody", role=None)))
    assert me.data["roles"] == ["user"]


def test_role_of_the_token_wins_over_the_membership(api: Api) -> None:
    factories.user("kim", role="admin")

    assert approve_as(api, "kim", "user").refusal == (403, "E2001")


def test_valid_token_needs_no_row_in_the_database(api: Api) -> None:
    assert approve_as(api, APPROVER.user_id, "approver").status == 200


# --- another tenant's things --------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/aura/hitl/requests/{}"),
        ("POST", "/aura/hitl/approve/{}"),
        ("POST", "/aura/hitl/reject/{}"),
        ("POST", "/aura/hitl/requests/{}/cancel"),
    ],
)
def test_anothers_request_looks_like_a_missing_one(api: Api, method: str, path: str) -> None:
    request = factories.opened()

    missing = api.send(method, path.format("req_missing"), OUTSIDER)
    anothers = api.send(method, path.format(request.request_id), OUTSIDER)

    assert anothers.refusal == (404, "E1004")
    assert anothers.facts == missing.facts
    assert len(anothers.content) == len(missing.content)
