"""Liveness and readiness (docs/reference/wire.md, 2.1)."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import transaction
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries

from dwp_project import offload
from dwp_project.gateway import handler, readiness
from dwp_project.offload import run_sync
from tests import factories
from tests.integration.calls import Answer, Api
from tests.integration.exchange import call
from tests.integration.outages import no_database

BARE = ["/health", "/aura/health", "/aura/agents/health", "/agents/health", "/auth/health"]
PATHS = [*BARE, "/main/health"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", BARE)
def test_health_asks_nobody_and_has_no_envelope(
    api: Api,
    path: str,
    redis_away: None,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        answer = api.get(path)

    assert answer.status == 200
    assert answer.content == b'{"status":"healthy","environment":"development"}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.django_db
def test_health_of_the_main_service_asks_nobody_and_is_in_the_envelope(
    api: Api, redis_away: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        answer = api.get("/main/health", headers={"Authorization": "Bearer stale"})

    assert answer.status == 200
    assert (answer.body["status"], answer.body["success"]) == ("SUCCESS", True)
    assert answer.data == "Main Service is running"


def test_every_health_path_has_the_probes_own_threads() -> None:
    for path in PATHS:
        request = RequestFactory().get(path)

        assert handler._pool_for(request)[0] is offload.probe_pool


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_health_is_answered_while_the_database_is_away(api: Api, path: str) -> None:
    with no_database():
        assert api.get(path).status == 200


@pytest.mark.parametrize("path", [*PATHS, "/ready"])
def test_health_refuses_other_methods_in_the_envelope(api: Api, path: str) -> None:
    answer = api.post(path)

    assert answer.refusal == (405, "E1002")


@pytest.mark.django_db
def test_ready_is_200_when_both_answer(api: Api) -> None:
    answer = api.get("/ready")

    assert answer.status == 200
    assert answer.content == b'{"status":"ready"}'


@pytest.mark.django_db
def test_ready_is_degraded_while_redis_is_away(api: Api, redis_away: None) -> None:
    answer = api.get("/ready")

    assert answer.status == 200
    assert (answer.body["status"], answer.body["late"]) == ("degraded", ["redis"])
    assert "down" not in answer.body


@pytest.mark.django_db(transaction=True)
def test_ready_names_both_when_both_are_away(api: Api, redis_away: None) -> None:
    with no_database():
        answer = api.get("/ready")

    assert answer.status == 503
    assert answer.body["status"] == "not ready"
    assert (answer.body["down"], answer.body["late"]) == (["database"], ["redis"])


@pytest.mark.django_db(transaction=True)
def test_ready_names_the_database_when_it_is_away(api: Api) -> None:
    with no_database():
        answer = api.get("/ready")

    assert answer.status == 503
    assert b"database" in answer.content
    assert b"redis" not in answer.content
    assert api.get("/ready").status == 200


@pytest.mark.django_db
def test_ready_names_redis_when_it_is_frozen(api: Api, redis_frozen: None) -> None:
    answer = api.get("/ready")

    assert (answer.status, answer.body["late"]) == (200, ["redis"])


@pytest.mark.django_db(transaction=True)
def test_ready_is_200_while_somebody_else_writes(api: Api) -> None:
    with transaction.atomic():
        factories.user("writing")
        assert api.get("/ready").status == 200


@pytest.mark.django_db
def test_ready_is_checked_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    going_on, calls = threading.Event(), []

    def look() -> None:
        calls.append(1)
        going_on.wait(20)

    silence = readiness.Fault("part", "It does not answer in time.")
    check = readiness.SharedCheck(look, silence)
    monkeypatch.setattr(readiness, "SECONDS", 0.1)
    for _ in range(20):
        check.start()
        assert check.fault() == silence
    going_on.set()
    monkeypatch.setattr(readiness, "SECONDS", 20.0)

    assert check.fault() is None
    assert calls == [1]


FIRST_OF_ITS_KIND: list[dict[str, str]] = [
    {},
    {"Origin": "http://localhost:4200"},
    {"Origin": "http://elsewhere"},
    {"Accept-Language": "ko"},
    {"Cookie": "django_language=ko"},
    {"Origin": "http://localhost:4200", "Accept-Language": "ko", "X-Forwarded-Proto": "https"},
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("path", ["/health", "/api/aura/health?at=1", "/main/health"])
async def test_health_repeats_its_first_answer_and_no_other(path: str, method: str) -> None:
    for headers in FIRST_OF_ITS_KIND:
        expected = await run_sync(_through_django, method, path, headers)
        for _ in range(2):
            answer = await call(method, path, headers=headers)
            assert (answer.status, answer.headers) == (expected.status, expected.headers)
            if path != "/main/health" and method == "GET":
                assert answer.content == expected.content


@pytest.mark.django_db(transaction=True)
async def test_health_is_answered_though_its_thread_is_taken() -> None:
    assert (await call("GET", "/health")).status == 200
    is_taken, may_end = threading.Event(), threading.Event()

    def take() -> None:
        is_taken.set()
        assert may_end.wait(30)

    taking = asyncio.create_task(offload.run_request(take, seconds=30.0, pool=offload.probe_pool))
    assert await asyncio.to_thread(is_taken.wait, 30)
    try:
        async with asyncio.timeout(10):
            assert (await call("GET", "/health")).status == 200
    finally:
        may_end.set()
        await taking


def _through_django(method: str, path: str, headers: dict[str, str]) -> Answer:
    return Api().send(method, path.removeprefix("/api"), headers=headers)
