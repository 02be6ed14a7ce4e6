"""`GET /aura/hitl/requests/{requestId}/wait` (docs/reference/wire.md, 3.5)."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from dwp_project.offload import run_sync
from hitl import services
from tests import factories
from tests.integration.calls import Answer
from tests.integration.exchange import Exchange, call
from tests.integration.outages import no_database
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person
from tests.ruling import a_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_hub")]

SOON = 3.0


async def wait(request_id: str, query: str = "?timeout=30", by: Person = REQUESTER) -> Answer:
    return await call("GET", f"/api/aura/hitl/requests/{request_id}/wait{query}", by)


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_wait_answers_as_soon_as_it_is_decided(
    redis_client: redis.Redis, prefix: str
) -> None:
    request = await run_sync(factories.opened)
    url = f"{prefix}/aura/hitl/requests/{request.request_id}/wait?timeout=30"
    waiting = asyncio.create_task(call("GET", url, REQUESTER))
    await asyncio.sleep(0.4)
    assert not waiting.done()

    await run_sync(services.approve, request.request_id, factories.actor())

    async with asyncio.timeout(SOON):
        answer = await waiting
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert (answer.data["status"], answer.data["approvedBy"]) == ("approved", "approver1")


async def test_wait_answers_what_was_decided_before(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    await run_sync(services.reject, request.request_id, factories.actor(), reason="no")

    answer = await wait(request.request_id, "", APPROVER)

    assert (answer.status, answer.data["status"], answer.data["reason"]) == (200, "rejected", "no")


async def test_wait_answers_202_with_the_pending_object(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)

    answer = await wait(request.request_id, "?timeout=1")

    assert (answer.status, answer.data["status"]) == (202, "pending")
    assert answer.data["requestId"] == request.request_id


async def test_wait_shows_the_votes_so_far(redis_client: redis.Redis) -> None:
    await run_sync(a_policy, min_approvals=2)
    request = await run_sync(factories.opened)
    await run_sync(services.approve, request.request_id, factories.actor())

    answer = await wait(request.request_id, "?timeout=1")

    assert (answer.status, answer.data["minApprovals"]) == (202, 2)
    assert [vote["userId"] for vote in answer.data["votes"]] == ["approver1"]


async def test_wait_answers_the_expiry(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened, now=timezone.now() - timedelta(seconds=299))

    answer = await wait(request.request_id)

    assert (answer.status, answer.data["status"]) == (200, "expired")


@pytest.mark.parametrize(
    "timeout",
    [
        "0",
        "61",
        "-1",
        "1.5",
        "soon",
        "",
        "%20",
        "%D9%A3",
        "1e1",
        "999999999999",
        "0000000019999",
        "00000001" + "0" * 4400,
    ],
    ids=lambda text: text[:14],
)
async def test_wait_of_an_odd_length_is_an_invalid_value(
    redis_client: redis.Redis, timeout: str
) -> None:
    request = await run_sync(factories.opened)

    async with asyncio.timeout(SOON):
        answer = await wait(request.request_id, f"?timeout={timeout}")

    assert answer.refusal == (400, "E1001")


async def test_wait_checks_identity_first(redis_client: redis.Redis) -> None:
    url = "/aura/hitl/requests/req_1/wait?timeout=x"
    tenant = {"X-Tenant-ID": "tenant1"}
    other_user = {**REQUESTER.headers, "X-User-ID": "else"}
    other_tenant = {**REQUESTER.headers, "X-Tenant-ID": "tenant2"}

    assert (await call("GET", url)).refusal == (400, "E2006")
    assert (await call("GET", url, headers=tenant)).refusal == (401, "E2000")
    assert (await call("GET", url, headers=other_tenant)).refusal == (403, "E2007")
    assert (await call("GET", url, headers=other_user)).refusal == (403, "E2001")
    assert (await call("GET", url, REQUESTER)).refusal == (400, "E1001")


@pytest.mark.parametrize("request_id", ["req_none", "a%00b", "%F0%9F%99%82", "x" * 300, "..%5Cx"])
async def test_wait_for_what_is_not_there_is_not_found(
    redis_client: redis.Redis, request_id: str
) -> None:
    assert (await wait(request_id)).refusal == (404, "E1004")


async def test_wait_for_anothers_request_looks_like_a_missing_one(
    redis_client: redis.Redis,
) -> None:
    request = await run_sync(factories.opened)

    missing = await wait("req_none", by=OUTSIDER)

    assert (await wait(request.request_id, by=OUTSIDER)).facts == missing.facts


async def test_wait_ends_with_its_client(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    url = f"/aura/hitl/requests/{request.request_id}/wait?timeout=60"

    async with asyncio.timeout(SOON), Exchange("GET", url, REQUESTER):
        await asyncio.sleep(0.3)


async def test_wait_answers_other_origins_and_languages_as_views_do(
    redis_client: redis.Redis,
) -> None:
    headers = {"Origin": "http://localhost:4200", "X-Trace-Id": "t-1"}

    answer = await call("GET", "/aura/hitl/requests/none/wait", REQUESTER, headers=headers)

    assert answer.headers["access-control-allow-origin"] == "http://localhost:4200"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.body["traceId"] == "t-1"


async def test_wait_by_another_method_is_refused(redis_client: redis.Redis) -> None:
    answer = await call("POST", "/aura/hitl/requests/none/wait", REQUESTER)

    assert answer.refusal == (405, "E1002")


async def test_wait_with_the_database_away_says_so(redis_client: redis.Redis) -> None:
    with no_database():
        answer = await wait("req_1")

    assert answer.refusal == (503, "E5003")
    assert answer.headers["retry-after"] == "1"


async def test_forty_waits_are_answered_together(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    waits = [asyncio.create_task(wait(request.request_id)) for _ in range(40)]
    await asyncio.sleep(1)

    await run_sync(services.approve, request.request_id, factories.actor())

    async with asyncio.timeout(2 * SOON):
        answers = await asyncio.gather(*waits)
    assert {answer.status for answer in answers} == {200}
    assert len({json.dumps(answer.data) for answer in answers}) == 1
