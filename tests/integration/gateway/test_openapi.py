"""`/schema/` and `/docs/` as they are served, and answers compared with their description."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
import redis
from django.test import Client
from django.utils import timezone

from dwp_project.gateway.documentation import document
from hitl import services
from hitl.states import Origin
from tests import described, factories
from tests.integration.calls import Answer, Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, make_token
from tests.ruling import APPROVERS, a_policy

pytestmark = pytest.mark.django_db


def as_described(answer: Answer, method: str, path: str) -> dict[str, Any]:
    """Return the answer's body; fail unless it is as its description says."""
    assert answer.headers["content-type"] == "application/json"
    described.check(answer.body, described.operation(method, path).content(answer.status)["schema"])
    return answer.body


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/vnd.oai.openapi", "image/png"])
def test_schema_is_json_whatever_is_asked_for(api: Api, accept: str) -> None:
    answer = api.get("/schema/", headers={"Accept": accept})

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == document()


def test_schema_ignores_a_token_that_is_sent(api: Api) -> None:
    answer = api.get("/schema/", headers={"Authorization": "Bearer stale"})

    assert answer.status == 200
    assert answer.body["servers"][0]["url"] == "/api"


@pytest.mark.parametrize("path", ["/schema/", "/docs/"])
def test_other_methods_are_refused_in_the_envelope(api: Api, path: str) -> None:
    assert api.post(path).refusal == (405, "E1002")
    assert api.send("OPTIONS", path).body["success"] is True


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_docs_finds_the_schema_with_and_without_the_prefix(api: Api, prefix: str) -> None:
    script = api.get("/docs/?script=").content.decode()

    match = re.search(r'url: "([^"]+)"', script)
    assert match
    address = match[1].encode().decode("unicode_escape")
    assert urljoin(f"http://testserver{prefix}/docs/", address) == (
        f"http://testserver{prefix}/schema/"
    )


def test_docs_needs_nobody_else(api: Api, client: Client) -> None:
    """Every asset is served from here, and nothing in page or style sheet leads elsewhere."""
    page = api.get("/docs/").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    script = api.get("/docs/?script=").content.decode()

    assert not re.findall(r"https?://|[\"'(]//", page + script)
    assert addresses.pop() == "?script="
    assert len(addresses) == 5  # icon, two style sheets, two scripts
    for address in addresses:
        asset = client.get(address)
        content = b"".join(asset)
        asset.close()
        assert asset.status_code == 200, address
        if address.endswith(".css"):
            assert not re.findall(rb"url\(['\"]?(?:https?:)?//|@import", content)


def test_docs_asks_no_online_validator(api: Api) -> None:
    script = api.get("/docs/?script=").content.decode()

    assert '"validatorUrl": null' in script


def test_health_is_as_described_and_outside_the_envelope(api: Api) -> None:
    answer = api.get("/health")

    assert answer.content == b'{"status":"healthy","environment":"development"}'
    as_described(answer, "get", "/health")
    assert api.send("DELETE", "/health").refusal == (405, "E1002")


def test_ready_is_as_described(api: Api, redis_client: redis.Redis) -> None:
    answer = api.get("/ready")

    assert answer.status == 200
    as_described(answer, "get", "/ready")


def test_ready_without_redis_is_as_described(api: Api, redis_away: None) -> None:
    answer = api.get("/ready")

    assert (answer.status, answer.body["late"]) == (200, ["redis"])
    as_described(answer, "get", "/ready")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decisions_are_as_described(api: Api, redis_client: redis.Redis, verb: str) -> None:
    path = f"/aura/hitl/{verb}/{{requestId}}"
    request = factories.opened()
    address = path.format(requestId=request.request_id)
    overdue = factories.opened(now=timezone.now() - timedelta(hours=1))

    answers = [
        api.post(address, APPROVER, {"userId": "somebody"}),
        api.post(address, APPROVER, {"userId": ["approver1"]}),
        api.post(address, APPROVER),
        api.post(address, REQUESTER),
        api.post(address, OUTSIDER),
        api.post(address, headers={"X-Tenant-ID": "tenant1", "X-Trace-Id": "trace-1"}),
        api.post(path.format(requestId=overdue.request_id), APPROVER),
        api.post(address, APPROVER, b"x" * 300_000),
    ]

    for answer in answers:
        as_described(answer, "post", path)
    assert [answer.status for answer in answers] == [403, 400, 200, 409, 404, 401, 410, 413]


def test_decisions_under_a_policy_are_as_described(api: Api, redis_client: redis.Redis) -> None:
    a_policy(min_approvals=2, forbid_requester=True, reason_required=True, risk="medium")
    a_policy("pay", required_role="admin")
    request = factories.opened()
    pay, _ = services.open_request(
        factories.question(action_type="pay"), factories.actor(REQUESTER), Origin.REST
    )
    path = "/aura/hitl/{}/{{requestId}}"
    answered = [
        ("approve", request, REQUESTER, {}, 403),
        ("approve", pay, APPROVER, {}, 403),
        ("approve", request, APPROVER, {"contextDigest": "0" * 64}, 409),
        ("approve", request, APPROVER, {"contextDigest": request.context_digest}, 202),
        ("reject", request, APPROVER, {}, 400),
        ("approve", request, APPROVERS[1], {}, 200),
        ("reject", request, APPROVER, {}, 409),
    ]

    for verb, asked, by, body, status in answered:
        address = path.format(verb).format(requestId=asked.request_id)
        answer = api.post(address, by, body)
        assert answer.status == status
        as_described(answer, "post", path.format(verb))
        shown = described.operation("post", path.format(verb)).examples(status)
        if status != 202 and "errorCode" in answer.body:
            assert answer.body["message"] in [example["message"] for example in shown]
    listed = "/aura/hitl/requests"
    items = as_described(api.get(listed, REQUESTER), "get", listed)["data"]["items"]
    assert ["votes" in item for item in items] == [False, True]
    assert [item.get("risk") for item in items] == [None, "medium"]


def test_requests_are_as_described(api: Api, redis_client: redis.Redis) -> None:
    path = "/aura/hitl/requests"
    question = {"requestId": "req-1", "sessionId": factories.a_session_id(), "actionType": "pay"}

    answers = [
        api.post(path, REQUESTER, question),
        api.post(path, REQUESTER, question),
        api.post(path, REQUESTER, {**question, "actionType": "refund"}),
        api.post(path, OUTSIDER, {**question, "requestId": "req-2"}),
        api.post(path, REQUESTER, {}),
    ]

    for answer in answers:
        as_described(answer, "post", path)
    assert [answer.status for answer in answers] == [201, 200, 409, 404, 400]
    assert as_described(api.get(path, REQUESTER), "get", path)["data"]["items"]
    as_described(api.get(f"{path}?status=lost", REQUESTER), "get", path)
    as_described(api.get(f"{path}/req-1", REQUESTER), "get", f"{path}/{{requestId}}")
    as_described(
        api.post(f"{path}/req-1/cancel", REQUESTER), "post", f"{path}/{{requestId}}/cancel"
    )


def test_signals_are_as_described(api: Api, redis_client: redis.Redis) -> None:
    path = "/aura/hitl/signals/{sessionId}"
    request = factories.opened()
    address = path.format(sessionId=request.session_id)

    assert "data" not in as_described(api.get(address, REQUESTER), "get", path)
    api.post(f"/aura/hitl/approve/{request.request_id}", APPROVER)
    as_described(api.get(address, REQUESTER), "get", path)


def test_login_and_start_up_are_as_described(api: Api) -> None:
    factories.user("minji", role="approver", password="correct horse")
    body = {"username": "minji", "password": "correct horse", "tenantId": "tenant1"}

    login = as_described(api.post("/auth/login", body=body), "post", "/auth/login")
    sent = {
        "Authorization": f"Bearer {login['data']['accessToken']}",
        "X-Tenant-ID": "tenant1",
    }
    as_described(api.post("/auth/login", body={**body, "password": "x"}), "post", "/auth/login")
    as_described(api.post("/auth/login", body={}), "post", "/auth/login")
    for path in ("policy", "idp", "me", "permissions", "menus/tree"):
        assert as_described(api.get(f"/auth/{path}", headers=sent), "get", f"/auth/{path}")


def test_identity_errors_are_as_described(api: Api) -> None:
    stale = make_token(lifetime_seconds=1)
    refused = [
        api.get("/auth/me"),
        api.get("/auth/me", headers={"X-Tenant-ID": "tenant1"}),
        api.get("/auth/me", REQUESTER, headers={"X-Tenant-ID": "tenant2"}),
        api.get("/auth/me", REQUESTER, headers={"X-User-ID": "somebody"}),
        api.get("/auth/me", REQUESTER, headers={"Authorization": f"Bearer {stale}x"}),
        api.post("/auth/me", REQUESTER),
    ]

    shown = [
        example["errorCode"]
        for status in ("400", "401", "403", "405")
        for example in described.operation("get", "/auth/me").examples(status)
    ]
    for answer in refused:
        assert as_described(answer, "get", "/auth/me")["errorCode"] in shown


def test_permissions_and_menus_are_those_of_the_examples(api: Api) -> None:
    for path in ("/auth/permissions", "/auth/menus/tree"):
        [example] = described.operation("get", path).examples(200)
        assert api.get(path, REQUESTER).data == example["data"]
