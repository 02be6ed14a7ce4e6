"""What a deployment behind a gateway of its own sets: whose word counts, who answers for CORS."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from tests.acceptance.prompts import START_PATH
from tests.acceptance.server import RunningServer

ORIGIN = {"Origin": "http://localhost:4200"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST"}


def addresses(server: RunningServer) -> list[str]:
    """Return the addresses in the audit, in the order of its records."""
    with sqlite3.connect(server.data_dir / "dwp.sqlite3") as database:
        rows = database.execute("SELECT source_address FROM hitl_auditrecord ORDER BY id")
        return [address for (address,) in rows]


def open_request(server: RunningServer, session_id: str, forwarded: str) -> None:
    headers = {**server.headers(), "X-Forwarded-For": forwarded}
    body = {"sessionId": session_id, "actionType": "x"}
    assert server.request("POST", "/aura/hitl/requests", headers, body).status == 201


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"BEHIND_PROXY": "true"}, "203.0.113.7"),
        ({"TRUSTED_PROXIES": "2"}, "198.51.100.9"),
        ({"TRUSTED_PROXIES": "127.0.0.1,203.0.113.0/24"}, "198.51.100.9"),
    ],
)
def test_audit_has_the_address_of_the_nearest_hop_that_is_not_trusted(
    own_server: Callable[..., RunningServer], env: dict[str, str], expected: str
) -> None:
    server = own_server(env=env).start()

    open_request(server, "session-a", '6.6.6.6, 198.51.100.9:4711, "203.0.113.7"')

    assert addresses(server)[-1] == expected


def test_gateway_that_answers_for_cors_is_not_contradicted(
    own_server: Callable[..., RunningServer],
) -> None:
    server = own_server(env={"CORS_ENABLED": "false", "CORS_ALLOWED_ORIGINS": ORIGIN["Origin"]})
    server.start()
    token = server.headers()
    with server.stream(f"{START_PATH}?message=test", {**token, **ORIGIN}) as stream:
        answers = [stream.head]
    for method, path in [
        ("GET", "/aura/hitl/requests"),
        ("GET", "/aura/hitl/requests/none/wait"),
        ("GET", "/no/such/path"),
        ("GET", "/health"),
    ]:
        answers.append(server.request(method, path, {**token, **ORIGIN}).head)
        answers.append(server.request(method, path, ORIGIN).head)
        preflight = server.request("OPTIONS", path, PREFLIGHT)
        assert preflight.status == 200
        answers.append(preflight.head)

    names = {name.lower() for head in answers for name, _value in head.fields}
    assert not {name for name in names if name.startswith("access-control-")}


def test_proxies_that_mean_nothing_are_named_and_nothing_is_served(
    own_server: Callable[..., RunningServer],
) -> None:
    server = own_server(env={"TRUSTED_PROXIES": "2", "BEHIND_PROXY": "true"})
    server.launch()

    assert server.wait() != 0
    assert "TRUSTED_PROXIES" in server.output
    assert "Traceback" not in server.output
