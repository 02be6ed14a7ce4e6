"""What a stream refuses before it starts, and how (wire.md, 1, 4.1, 4.2, 4.6)."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from tests.acceptance.prompts import START_PATH, start
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Response, request_bytes

PATH = f"{START_PATH}?message=test"


def refusal(answer: Response) -> tuple[int, str]:
    """Return status and code of an error, having checked its envelope."""
    assert answer.head["Content-Type"] == "application/json"
    body = answer.json()
    assert (body["status"], body["success"]) == ("ERROR", False)
    assert set(body) == {"status", "message", "errorCode", "success", "timestamp"}
    return answer.status, body["errorCode"]


def forged(server: RunningServer, **how: Any) -> dict[str, str]:
    """Return headers with a token that another key or algorithm has signed."""
    claims = jwt.decode(server.token(), options={"verify_signature": False})
    return {"Authorization": f"Bearer {jwt.encode(claims, **how)}", "X-Tenant-ID": "tenant1"}


def test_stream_without_tenant_header_is_400(server: RunningServer) -> None:
    assert refusal(server.get(PATH)) == (400, "E2006")
    headers = {"Authorization": server.headers()["Authorization"]}
    assert refusal(server.get(PATH, headers)) == (400, "E2006")


def test_stream_without_token_is_401(server: RunningServer) -> None:
    assert refusal(server.get(PATH, {"X-Tenant-ID": "tenant1"})) == (401, "E2000")


def test_stream_with_expired_token_is_401(server: RunningServer) -> None:
    token = server.token(lifetime_seconds=-60)
    headers = {"Authorization": f"Bearer {token}", "X-Tenant-ID": "tenant1"}
    assert refusal(server.get(PATH, headers)) == (401, "E2002")


def test_stream_with_wrong_key_is_401(server: RunningServer) -> None:
    headers = forged(server, key="k" * 40, algorithm="HS256")
    assert refusal(server.get(PATH, headers)) == (401, "E2003")


def test_stream_with_alg_none_is_401(server: RunningServer) -> None:
    assert refusal(server.get(PATH, forged(server, key="", algorithm="none"))) == (401, "E2003")


def test_stream_with_rs256_is_401(server: RunningServer) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    key = generate_private_key(public_exponent=65537, key_size=2048)
    assert refusal(server.get(PATH, forged(server, key=key, algorithm="RS256"))) == (401, "E2003")


def test_stream_of_another_tenant_is_403(server: RunningServer) -> None:
    headers = {**server.headers(), "X-Tenant-ID": "tenant2"}
    assert refusal(server.get(PATH, headers)) == (403, "E2007")


@pytest.mark.parametrize("form", ["GET", "POST"])
@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_stream_with_empty_prompt_is_400(server: RunningServer, form: str, prompt: str) -> None:
    if form == "GET":
        path = START_PATH + ("?message=" + prompt.replace(" ", "%20").replace("\n", "%0A"))
        answer = server.get(path, server.headers())
    else:
        answer = server.request("POST", START_PATH, server.headers(), {"prompt": prompt})
    assert refusal(answer) == (400, "E4000")
    assert server.get(START_PATH, server.headers()).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"prompt=test",
        b"{",
        b"[]",
        b'"test"',
        b'{"prompt": 1e400}',
        b'{"prompt": "\\ud800"}',
        b"\xff",
    ],
)
def test_stream_with_unusable_body_is_400(server: RunningServer, body: bytes) -> None:
    answer = server.request("POST", START_PATH, server.headers(), body)
    assert refusal(answer) == (400, "E4000")


def test_stream_with_deep_context_is_400(server: RunningServer) -> None:
    deep = '{"prompt":"test","context":' + '{"a":' * 1000 + "1" + "}" * 1001
    answer = server.request("POST", START_PATH, server.headers(), deep.encode())
    assert refusal(answer) == (400, "E4000")
    assert "nested" in answer.json()["message"]


def test_stream_with_body_over_the_cap_is_413(server: RunningServer) -> None:
    body = json.dumps({"prompt": "x" * (256 * 1024)}).encode()
    assert refusal(server.request("POST", START_PATH, server.headers(), body)) == (413, "E4130")
    # Who may not speak at all is told that first.
    assert refusal(server.request("POST", START_PATH, {}, body)) == (400, "E2006")


def test_stream_takes_a_body_up_to_the_cap(server: RunningServer) -> None:
    wrapping = len(json.dumps({"prompt": ""}))
    with start(server, "POST", "x" * (256 * 1024 - wrapping)) as stream:
        assert stream.head.status == 200
        assert stream.until("start")


def test_stream_with_foreign_user_header_is_an_error_event(server: RunningServer) -> None:
    headers = {**server.headers(), "X-User-ID": "mallory"}
    with server.stream(PATH, headers) as stream:
        error, done = list(stream.events())
    assert stream.head.status == 200
    assert stream.ended == "clean"
    assert (error.id, error.event) == (0, "error")
    assert error.json()["errorType"] == "ValidationError"
    assert done.is_done


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_stream_by_another_method_is_405(server: RunningServer, method: str) -> None:
    answer = server.request(method, START_PATH, server.headers())
    assert refusal(answer) == (405, "E1002")


def test_refusals_speak_korean_when_asked(server: RunningServer) -> None:
    answer = server.get(PATH, {"Accept-Language": "ko-KR,ko;q=0.9"})
    assert refusal(answer) == (400, "E2006")
    assert answer.json()["message"] == "X-Tenant-ID 헤더가 없습니다."


def test_trace_ids_are_echoed_in_errors(server: RunningServer) -> None:
    answer = server.get(PATH, {"X-Trace-Id": "t-1", "X-Gateway-Request-Id": "g-1"})
    assert (answer.json()["traceId"], answer.json()["gatewayRequestId"]) == ("t-1", "g-1")


ORIGIN = "http://localhost:4200"


def test_preflight_of_the_stream_needs_no_token(server: RunningServer) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-tenant-id",
    }
    answer = server.request("OPTIONS", START_PATH, headers)
    assert answer.status == 200
    assert answer.head["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.head["Access-Control-Allow-Credentials"] == "true"
    allowed = answer.head["Access-Control-Allow-Methods"]
    assert allowed == "GET, POST, PUT, DELETE, PATCH, OPTIONS"
    assert "Last-Event-ID" in answer.head["Access-Control-Allow-Headers"]


def test_cors_headers_are_on_the_stream_and_on_its_errors(server: RunningServer) -> None:
    with server.stream(PATH, {**server.headers(), "Origin": ORIGIN}) as stream:
        assert stream.head["Access-Control-Allow-Origin"] == ORIGIN
    assert server.get(PATH, {"Origin": ORIGIN}).head["Access-Control-Allow-Origin"] == ORIGIN
    foreign = server.get(PATH, {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in foreign.head


@pytest.mark.parametrize(
    "path", ["/api/aura/hitl/approve/../x", "/api/aura/hitl/approve/%00", "/api/nothing"]
)
def test_odd_paths_are_404(server: RunningServer, path: str) -> None:
    raw = server.exchange(
        request_bytes("POST", path, {**server.headers(), "Connection": "close"}, {})
    )
    assert refusal(Response.parse(raw)) == (404, "E1004")
