"""Cross-origin answers of Django's views (docs/reference/wire.md, 1)."""

from __future__ import annotations

import pytest

from tests.integration.calls import Api
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db

ORIGINS = ["http://localhost:4200", "http://localhost:3000", "http://localhost:3039"]
PATHS = [
    "/aura/hitl/approve/req_1",
    "/aura/hitl/requests",
    "/aura/hitl/requests/req_1/wait",
    "/aura/test/stream",
    "/agent/chat-stream",
    "/aura/sessions/s/stream",
    "/auth/login",
    "/auth/me",
    "/health",
    "/no/such/path",
]
SENT_HEADERS = (
    "Authorization, Content-Type, Accept, Accept-Language, X-Tenant-ID, X-User-ID, X-Agent-ID, "
    "X-DWP-Source, X-DWP-Caller-Type, Last-Event-ID, Idempotency-Key, X-Trace-Id, "
    "X-Gateway-Request-Id"
)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("path", PATHS)
def test_preflight_is_answered_without_token_or_tenant(api: Api, path: str, origin: str) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-tenant-id",
    }

    answer = api.send("OPTIONS", path, headers=headers)

    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-methods"] == (
        "GET, POST, PUT, DELETE, PATCH, OPTIONS"
    )
    assert answer.headers["access-control-allow-headers"] == SENT_HEADERS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/auth/idp", 200),
        ("GET", "/health", 200),
        ("GET", "/auth/me", 400),
        ("GET", "/no/such/path", 404),
        ("DELETE", "/auth/idp", 405),
        ("PUT", "/aura/test/stream", 405),
    ],
)
def test_answer_echoes_an_allowed_origin(api: Api, method: str, path: str, status: int) -> None:
    person = REQUESTER if status == 405 else None

    answer = api.send(method, path, person, headers={"Origin": ORIGINS[0]})

    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == ORIGINS[0]
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["http://localhost:4201", "https://evil.example", "null"])
def test_answer_says_nothing_to_another_origin(api: Api, origin: str) -> None:
    assert (
        "access-control-allow-origin"
        not in api.get("/auth/idp", headers={"Origin": origin}).headers
    )


def test_options_without_a_preflight_is_fine(api: Api) -> None:
    for path in ("/aura/hitl/requests", "/health", "/aura/test/stream"):
        assert api.send("OPTIONS", path).status == 200
