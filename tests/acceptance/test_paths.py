"""Paths over real sockets: opaque ids, and targets with a host; on our server, on a plain daphne,
and behind nginx."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.programs import nginx
from tests.acceptance.server import START_SECONDS, RunningServer, free_ports
from tests.acceptance.wire import Response, request_bytes

Maker = Callable[..., RunningServer]
Ask = Callable[..., Response]

# What deployed agents make ids of (wire.md, 3.5).
IDS = (
    *("u/1", "a%2Fb", "100%", "a b", "a+b@x.com", "홍길동", "DOMAIN\\kim", "a?b#c", "x" * 110),
    *("a&b=c", "~;,:'", "\u2028", "😀"),
)
PATHS = (
    *(("GET", f"/aura/hitl/{what}") for what in ("requests/{}", "signals/{}", "requests/{}/wait")),
    *(("POST", f"/aura/hitl/{what}") for what in ("approve/{}", "reject/{}", "requests/{}/cancel")),
    *(("GET", "/aura/sessions/{}/stream"), ("POST", "/aura/sessions/{}/cancel")),
)
TENANT_MISSING, NOT_FOUND = (400, "E2006"), (404, "E1004")


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status, answer.json()["errorCode"]


def check_opaque_ids(ask: Ask, headers: dict[str, str]) -> None:
    """Fail unless each id is one segment of the path: a path without one does not exist, whoever
    asks, and one with an unknown one is asked for the tenant first."""
    for prefix in ("", "/api"):
        for method, path in PATHS:
            for an_id in IDS if prefix else IDS[:3]:
                target = prefix + path.format(quote(an_id, safe=""))
                assert refusal(ask(method, target)) == TENANT_MISSING, target
            answer = ask(method, prefix + path.format("nobodys%2F1"), headers)
            assert answer.status in ((200, 404) if "signals" in path else (404,)), path


@pytest.mark.parametrize("odd", ["%FF", "%C3", "a%80b", "%ED%A0%80", "%0A", "%C2%85", "%7F", "%00"])
def test_what_is_no_text_is_no_path(server: RunningServer, odd: str) -> None:
    for method, path in PATHS:
        assert refusal(server.request(method, path.format(odd))) == NOT_FOUND


def test_id_in_a_path_is_one_segment_of_it(server: RunningServer) -> None:
    check_opaque_ids(server.request, server.headers())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/aura%2Fhealth", 404),
        ("/api%2Fhealth", 404),
        ("/%61pi/%68ealth", 200),
        ("/api/api/health", 404),
        ("//health", 404),
        ("/aura/../health", 404),
        ("/static/%2561dmin/css/base.css", 404),
        ("/static/admin/css%2Fbase.css", 404),
        ("/static/admin/%63ss/base.css", 200),
        ("/admin/login%2F", 302),
        ("/admin/%6Cogin/", 200),
        ("/admin/hitl/approvalrequest/%25/", 302),
        ("/admin/%FF%00", 302),
    ],
)
def test_other_paths_are_decoded_once(server: RunningServer, path: str, status: int) -> None:
    assert server.get(path).status == status


def ask_with_host(ask: Ask, target: str, host: str = "other.example") -> Response:
    return ask("GET", target, {"Host": host})


def check_targets_with_a_host(ask: Ask, headers: dict[str, str]) -> None:
    assert ask_with_host(ask, "http://example.com/health").json()["status"] == "healthy"
    assert ask_with_host(ask, "http://example.com:8080/api/health").json()["status"] == "healthy"
    listed = ask("GET", "http://[::1]:1/api/aura/hitl/requests?status=pending", headers)
    assert listed.status == 200
    odd = ask("GET", "http://example.com/aura/hitl/requests?status=odd", headers)
    assert refusal(odd) == (400, "E1001")
    for method, target in (
        *(("GET", "http://user@example.com/health"), ("GET", "http:///health")),
        *(("GET", "https://example.com/health"), ("GET", "ftp://example.com/health")),
        *(("OPTIONS", "*"), ("GET", "health"), ("CONNECT", "example.com:443")),
    ):
        assert refusal(ask(method, target, headers)) == NOT_FOUND, target


def test_target_with_a_host_is_answered_as_its_path(server: RunningServer) -> None:
    check_targets_with_a_host(server.request, server.headers())
    body = {"sessionId": "with-a-host", "actionType": "x"}
    opened = server.request("POST", "http://a/api/aura/hitl/requests", server.headers(), body)
    assert opened.status == 201
    with server.stream("http://a/aura/test/stream?message=x", server.headers()) as stream:
        assert stream.head.status == 200


def test_host_of_the_target_is_the_one_that_pages_judge(own_server: Maker) -> None:
    server = own_server(env={"ALLOWED_HOSTS": "desk.example"}).start()

    assert ask_with_host(server.request, "http://desk.example/admin/login/").status == 200
    foreign = ask_with_host(server.request, "http://evil.example/admin/login/", "desk.example")
    assert foreign.status == 400


def test_plain_daphne_reads_the_same_paths(own_server: Maker) -> None:
    server = own_server(ports=free_ports(1), env={"REDIS_URL": os.environ["REDIS_URL"]})
    port = str(server.ports[0])
    server.command = [sys.executable, "-m", "daphne", "-p", port, "dwp_project.asgi:application"]
    server.launch()
    deadline = time.monotonic() + START_SECONDS
    while not server._is_healthy():
        assert server.process.poll() is None, server.output
        assert time.monotonic() < deadline
        time.sleep(0.1)

    check_opaque_ids(server.request, server.headers())
    check_targets_with_a_host(server.request, server.headers())


def test_nginx_hands_on_the_path_as_it_came(server: RunningServer, tmp_path: Path) -> None:
    port, unused = free_ports(2)
    with nginx(tmp_path / "nginx", [server.ports[0], unused], port) as front:

        def ask(method: str, path: str, headers: dict[str, str] | None = None) -> Response:
            return front.send(
                request_bytes(method, path, {"Connection": "close"} | (headers or {}))
            )

        check_opaque_ids(ask, server.headers())
        assert ask_with_host(ask, "http://example.com/api/health").status == 200
        assert refusal(ask("GET", "/api/aura/hitl/requests/%FF")) == NOT_FOUND


# --- what agents write under such ids --------------------------------------------------------


@pytest.mark.parametrize("an_id", IDS)
def test_request_under_an_opaque_id_is_read_and_decided(server: RunningServer, an_id: str) -> None:
    session = f"session_{an_id}_1"
    request: dict[str, Any] = {
        "requestId": an_id,
        "sessionId": session,
        "actionType": "delete_mail",
        "userId": "user123",
        "tenantId": "tenant1",
        "context": {},
        "status": "pending",
    }
    redis = server.redis()
    redis.set(f"hitl:request:{an_id}", json.dumps(request), ex=1795)
    redis.set(f"hitl:session:{session}", json.dumps({**request, "context": None}), ex=3600)
    headers, in_path = server.headers(role="approver"), quote(an_id, safe="")

    read = server.get(f"/api/aura/hitl/requests/{in_path}", headers)
    approved = server.request("POST", f"/api/aura/hitl/approve/{in_path}", headers, {})
    waited = server.get(f"/api/aura/hitl/requests/{in_path}/wait?timeout=1", headers)
    signal_path = f"/api/aura/hitl/signals/{quote(session, safe='')}"
    # It is published once Redis has been scanned since.
    deadline = time.monotonic() + 10
    while "data" not in (signal := server.get(signal_path, headers)).json():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert json.loads(read.json()["data"])["requestId"] == an_id
    assert (approved.status, approved.json()["data"]["requestId"]) == (200, an_id)
    assert waited.json()["data"]["status"] == "approved"
    assert json.loads(signal.json()["data"])["requestId"] == an_id
