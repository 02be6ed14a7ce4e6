"""What clients must not be able to do to the server with odd requests and settings."""

from __future__ import annotations

import select
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from dwp_project.offload import REQUEST_THREADS
from tests.acceptance.prompts import START_PATH, names
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Response, request_bytes


@pytest.mark.parametrize("root", ["/aura/hitl/requests", "//evil.example", "%ff%0d%0a", "\xff"])
def test_root_path_of_a_client_moves_nothing(server: RunningServer, root: str) -> None:
    hidden = server.get("/aura/hitl/requests/admin/login/", {"Daphne-Root-Path": root})
    assert (hidden.status, hidden.json()["errorCode"]) == (404, "E1004")
    assert server.get("/health", {"Daphne-Root-Path": root}).status == 200


def test_upgrade_to_a_websocket_is_answered_as_plain_http(server: RunningServer) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "eA=="}
    raw = request_bytes("GET", "/health", {**headers, "Sec-WebSocket-Version": "13"})
    with server.connect() as connection:
        connection.send(raw)
        head = connection.take_until(b"\r\n\r\n")
    assert head is not None
    assert head.startswith(b"HTTP/1.1 200 ")


def test_every_korean_syllable_may_be_in_a_header(server: RunningServer) -> None:
    # From 가 to 힣: one in 64 ends in the byte 0x85 in UTF-8, which daphne refuses.
    syllables = "".join(chr(code) for code in range(0xAC00, 0xD7A4))

    for start in range(0, len(syllables), 500):
        tenant = syllables[start : start + 500]
        answer = server.get("/auth/policy", {"X-Tenant-ID": tenant})
        assert (answer.status, answer.json()["data"]["tenantId"]) == (200, tenant)


def test_long_prompt_fits_in_the_query(server: RunningServer) -> None:
    with server.stream(f"{START_PATH}?message={'x' * 200_000}", server.headers()) as stream:
        assert stream.head.status == 200
        assert names(list(stream.events()))[-1] == "[DONE]"


def test_query_without_end_is_refused_with_413(server: RunningServer) -> None:
    raw = request_bytes("GET", f"{START_PATH}?message={'x' * 400_000}", server.headers())
    with server.connect() as connection:
        with suppress(ConnectionError):
            connection.send(raw)
        answer = Response.parse(connection.receive_all())
    assert (answer.status, answer.json()["errorCode"]) == (413, "E4130")


def test_logins_of_strangers_hold_up_no_approval(server: RunningServer) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(server.connect()) for _ in range(40)]
        for number, stranger in enumerate(crowd):
            body = {"username": f"nobody{number}", "password": "wrong", "tenantId": "tenant1"}
            stranger.send(request_bytes("POST", "/api/auth/login", {"Connection": "close"}, body))
        assert Response.parse(crowd[0].receive_all()).status == 401
        opening = {"sessionId": "while-others-log-in", "actionType": "x"}
        opened = server.request("POST", "/api/aura/hitl/requests", server.headers(), opening)
        answered, _, _ = select.select([stranger.socket for stranger in crowd], [], [], 0)

    assert opened.status == 201
    # After them all, no more would wait than there are threads. Who disconnects leaves the queue.
    assert len(crowd) - len(answered) > REQUEST_THREADS


def test_guesses_in_parallel_are_few_more_than_the_limit(server: RunningServer) -> None:
    barrier = threading.Barrier(20)

    def guess(number: int) -> int:
        body = {"username": "guessed", "password": f"x{number}", "tenantId": "tenant1"}
        barrier.wait(30)
        return server.request("POST", "/auth/login", {}, body).status

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(guess, range(20)))

    # A process checks two passwords at a time.
    assert 5 <= answers[401] <= 6
    assert answers[429] == 20 - answers[401]


def test_locked_page_is_sent_with_its_headers(server: RunningServer) -> None:
    for number in range(5):
        body = {"username": "locked", "password": f"x{number}", "tenantId": "tenant1"}
        assert server.request("POST", "/auth/login", {}, body).status == 401
    sign_in = server.get("/admin/login/")
    csrf = sign_in.head["Set-Cookie"].partition(";")[0]
    token = csrf.partition("=")[2]
    form = f"csrfmiddlewaretoken={token}&username=locked&password=x".encode()
    headers = {"Cookie": csrf, "Content-Type": "application/x-www-form-urlencoded"}

    answer = server.request("POST", "/admin/login/", headers, form)

    assert answer.status == 429
    assert 0 < int(answer.head["Retry-After"]) <= 900
    assert answer.head["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTS", "abc"),
        ("DATABASE_URL", "mysq://dwp:hunter2@db/dwp"),
    ],
)
def test_unusable_setting_is_named_and_nothing_is_served(
    own_server: Callable[..., RunningServer], name: str, value: str
) -> None:
    server = own_server(env={name: value})
    server.launch()
    assert server.wait() != 0
    assert name in server.output or value in server.output
    assert "Traceback" not in server.output
    assert "hunter2" not in server.output
