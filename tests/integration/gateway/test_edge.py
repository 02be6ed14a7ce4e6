"""The prefix and the body cap around the whole application (docs/reference/wire.md, 1)."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis

from dwp_project.offload import run_sync
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.calls import Answer
from tests.integration.exchange import Exchange, call
from tests.people import REQUESTER

pytestmark = pytest.mark.usefixtures("fresh_hub")
# Whoever lacks this mark promises that the database is not asked.
with_database = pytest.mark.django_db(transaction=True)

CAP = 256 * 1024
TENANT = {"X-Tenant-ID": "tenant1"}

# Every path of the contract that answers to GET without a body.
PATHS = [
    "/health",
    "/aura/health",
    "/aura/agents/health",
    "/main/health",
    "/agents/health",
    "/auth/health",
    "/ready",
    "/auth/policy",
    "/auth/idp",
    "/auth/me",
    "/auth/permissions",
    "/auth/menus/tree",
    "/aura/hitl/requests",
    "/aura/hitl/signals/session_1",
]


@with_database
@pytest.mark.parametrize("path", PATHS)
async def test_path_answers_with_and_without_the_prefix(path: str) -> None:
    bare = await call("GET", path, REQUESTER)
    prefixed = await call("GET", f"/api{path}", REQUESTER)

    assert (bare.status, prefixed.status) == (200, 200)
    assert bare.headers == prefixed.headers


@with_database
async def test_decision_answers_behind_the_prefix(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)

    answer = await call(
        "POST", f"/api/aura/hitl/approve/{request.request_id}", REQUESTER, b'{"userId":"user123"}'
    )

    assert (answer.status, answer.data["status"]) == (200, "approved")


@pytest.mark.parametrize(
    "path",
    ["/api", "/apihealth", "/api/api/health", "/API/health", "/api/no/such", "/x/api/health"],
)
async def test_other_paths_are_not_found(path: str) -> None:
    assert (await call("GET", path)).refusal == (404, "E1004")


# --- the cap ------------------------------------------------------------------------------

LARGE = {
    "in one piece": [b" " * (CAP + 1)],
    "in two pieces": [b" " * CAP, b" "],
    "in many pieces": [b" " * 1000] * 1000,
}
large = pytest.mark.parametrize("body", LARGE.values(), ids=LARGE.keys())
capped = pytest.mark.parametrize(
    "path",
    [
        "/aura/hitl/approve/req_1",
        "/aura/hitl/requests",
        "/aura/sessions/s/cancel",
        "/aura/test/stream",
        "/agent/chat-stream",
        "/api/aura/test/stream",
    ],
)


@large
@capped
async def test_body_over_the_cap_is_too_large(path: str, body: list[bytes]) -> None:
    assert (await call("POST", path, REQUESTER, body)).refusal == (413, "E4130")


async def test_login_over_the_cap_is_too_large() -> None:
    assert (await call("POST", "/auth/login", None, b" " * (CAP + 1))).refusal == (413, "E4130")


@capped
async def test_identity_is_judged_before_the_cap(path: str) -> None:
    body = [b" " * CAP, b" "]
    other = {**REQUESTER.headers, "X-Tenant-ID": "tenant2"}

    assert (await call("POST", path, None, body)).refusal == (400, "E2006")
    assert (await call("POST", path, None, body, headers=TENANT)).refusal == (401, "E2000")
    assert (await call("POST", path, None, body, headers=other)).refusal == (403, "E2007")


async def test_declared_length_over_the_cap_is_enough() -> None:
    answer = await call(
        "POST", "/aura/hitl/requests", REQUESTER, b"{}", headers={"Content-Length": str(CAP + 1)}
    )

    assert answer.refusal == (413, "E4130")


@with_database
async def test_body_in_pieces_up_to_the_cap_is_read(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    text = b'{"reason":"' + "아니요".encode() + b'"}'
    body = [text[:13], text[13:], b" " * (CAP - len(text))]

    answer = await call("POST", f"/aura/hitl/reject/{request.request_id}", REQUESTER, body)

    assert answer.data["reason"] == "아니요"


@with_database
async def test_client_that_leaves_while_it_sends_changes_nothing(
    redis_client: redis.Redis,
) -> None:
    request = await run_sync(factories.opened)
    exchange = Exchange("POST", f"/aura/hitl/approve/{request.request_id}", REQUESTER, [b"{", b"}"])
    exchange.forget_the_last_piece()

    async with asyncio.timeout(5), exchange:
        await asyncio.sleep(0.1)

    assert await run_sync(ApprovalRequest.objects.pending().exists)


@with_database
async def test_raw_path_follows_the_prefix(redis_client: redis.Redis) -> None:
    await run_sync(factories.opened, request_id="a~b")
    answers: list[Answer] = []
    for path in ("/aura/hitl/requests/a%7Eb", "/api/aura/hitl/requests/a%7Eb"):
        answers.append(await call("GET", path, REQUESTER))

    assert [json.loads(answer.data)["requestId"] for answer in answers] == ["a~b", "a~b"]
