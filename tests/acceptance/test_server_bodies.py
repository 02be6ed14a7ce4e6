"""Bodies: capped before they are read, refused so that the sender hears it, and in time."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import pytest

from tests.acceptance.app_server import AppServer, and_not_on_stock
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Response, request_bytes

CAP = 256 * 1024
MEMORY = 5 * 1024 * 1024
# The time that a request has in these tests, and three times that.
RECEIVE = ("--receive", "2")
CUT_SECONDS = 6.0
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


def head(*fields: bytes, path: bytes = b"/consumer/read") -> bytes:
    """Return the head of a POST whose body a consumer reads."""
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@and_not_on_stock()
def test_body_over_the_cap_is_refused_before_it_is_there(app: AppServer) -> None:
    for sent in (
        head(b"Content-Length: 262145") + b"{",
        head(b"Transfer-Encoding: chunked") + CHUNK * 5,
        head(b"Content-Length: 300000", b"Expect: 100-continue"),
    ):
        with app.connect(2) as connection:
            connection.send(sent)
            answer = Response.parse(connection.receive_all())
        assert (answer.status, answer.json()["errorCode"]) == (413, "E4130")
        assert answer.head["Connection"] == "close"


@and_not_on_stock()
@pytest.mark.parametrize(
    ("path", "length"),
    [
        (b"/consumer/read", b"Transfer-Encoding: chunked"),
        (b"/view/raise", b"Content-Length: 33554432"),
    ],
    ids=["growing", "declared"],
)
def test_body_of_32_mb_leaves_memory_as_it_is(app: AppServer, path: bytes, length: bytes) -> None:
    app.answer("/consumer/raise")
    app.answer("/view/raise")
    before = app.forget_peak()
    with app.connect(10) as connection:
        connection.send(head(length, b"Connection: close", path=path))
        # The connection may close before the end.
        with suppress(ConnectionError):
            for _ in range(512):
                connection.send(CHUNK)
            connection.send(b"0\r\n\r\n")
        connection.receive_all()
    assert app.peak() - before < MEMORY


def test_sender_of_a_large_body_reads_its_answer(app: AppServer) -> None:
    begin = head(b"Content-Length: 3276800")
    for _ in range(10):
        with app.connect() as connection:
            connection.send(begin)
            # The answer is there long before all is sent, and still when all is.
            for _ in range(50):
                connection.send(b"x" * 65536)
                time.sleep(0.002)
            assert Response.parse(connection.receive_all()).status == 413
            assert not connection.was_reset


def test_body_as_long_as_the_cap_is_taken(app: AppServer) -> None:
    body = b'{"a":"%b"}' % (b"x" * (CAP - 8))
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (CAP, body)
    with app.connect() as connection:
        for sent in (
            request_bytes("POST", "/consumer/read", {}, body),
            head(b"Transfer-Encoding: chunked") + chunked,
            head(b"Transfer-Encoding: chunked", b"Connection: close") + chunked,
        ):
            connection.send(sent)
            answer = connection.take_until(b'"members":1}')
            assert answer is not None
            assert answer.startswith(b"HTTP/1.1 200 ")
            connection.take_until(b"}")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "growing"])
def test_body_over_the_cap_is_judged_in_its_turn(server: RunningServer, is_chunked: bool) -> None:
    known = server.headers()
    for path, headers, status in (
        ("/nowhere", known, 404),
        ("/aura/hitl/requests", {}, 400),
        ("/aura/hitl/requests", {"X-Tenant-ID": "tenant1"}, 401),
        ("/aura/hitl/requests", known | {"X-Tenant-ID": "tenant2"}, 403),
        ("/aura/hitl/requests", known, 413),
        ("/aura/test/stream", known, 413),
        ("/api/aura/test/stream", {"X-Tenant-ID": "tenant1"}, 401),
        ("/auth/login", {}, 413),
    ):
        framing = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": "999999"}
        with server.connect() as connection:
            connection.send(request_bytes("POST", path, headers | framing) + CHUNK * 5)
            answer = Response.parse(connection.receive_all())
        assert answer.status == status, (path, answer.body)
        assert answer.json()["status"] == "ERROR"


@and_not_on_stock(*RECEIVE)
def test_request_that_does_not_arrive_in_time_is_cut(app: AppServer) -> None:
    begun = [
        b"GET / HTTP/1.1\r\nHost: ",
        head(b"Content-Length: 1000"),
        request_bytes("GET", "/", {}) + head(b"Content-Length: 1000"),
    ]
    with ExitStack() as opened:
        trickling = [opened.enter_context(app.connect()) for _ in begun]
        for connection, data in zip(trickling, begun, strict=True):
            connection.send(data)
        deadline = time.monotonic() + CUT_SECONDS
        while trickling and time.monotonic() < deadline:
            time.sleep(0.2)
            for connection in list(trickling):
                try:
                    connection.send(b"x")
                except ConnectionError:
                    trickling.remove(connection)
        assert not trickling


@pytest.mark.parametrize("app", [RECEIVE], indirect=True)
def test_connection_is_kept_between_requests(app: AppServer) -> None:
    with app.connect() as connection:
        for pause in (2 * float(RECEIVE[1]), 0):
            connection.send(request_bytes("GET", "/", {}))
            assert connection.take_until(b"whole\r\n0\r\n\r\n") is not None
            time.sleep(pause)
