"""What the server promises whatever the application does."""

from __future__ import annotations

import resource
import select
import signal
import socket
import time

import pytest

from tests.acceptance.app_server import AppServer, and_not_on_stock
from tests.acceptance.wire import Connection, Response, request_bytes

BURST = 2000


@and_not_on_stock()
def test_failure_before_the_headers_is_answered_in_the_envelope(app: AppServer) -> None:
    for path in ("/fail", "/silent"):
        answer = app.answer(path)
        assert answer.status == 500
        assert answer.head["Content-Type"] == "application/json"
        assert answer.json()["errorCode"] == "E1000"


def test_failure_of_a_view_or_consumer_is_answered_in_the_envelope(app: AppServer) -> None:
    for path in ("/view/raise", "/consumer/raise"):
        answer = app.answer(path)
        assert answer.status == 500
        assert answer.head["Content-Type"] == "application/json"
        assert answer.json()["errorCode"] == "E1000"


@and_not_on_stock()
def test_failure_after_the_headers_cuts_the_answer_and_harms_no_other(app: AppServer) -> None:
    for _ in range(3):
        for path in ("/fail-late", "/stop-late"):
            answer = app.answer(path)
            assert answer.body == b"begun"
            assert not answer.is_complete
        assert app.answer("/fail").status == 500
        assert app.answer("/").body == b"whole"


def test_failure_after_the_headers_is_no_clean_end_for_http_1_0(app: AppServer) -> None:
    with app.connect() as connection:
        connection.send(b"GET /fail-late HTTP/1.0\r\n\r\n")
        connection.receive_all()
        assert connection.was_reset


@and_not_on_stock()
def test_nonsense_is_refused_in_the_envelope(app: AppServer) -> None:
    for nonsense in (
        b"no http\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ):
        with app.connect() as connection:
            connection.send(nonsense + b"x" * 1000)
            answer = Response.parse(connection.receive_all())
            assert not connection.was_reset
        assert answer.status == 400
        assert answer.head["Content-Type"] == "application/json"
        assert answer.json()["errorCode"] == "E1001"


@and_not_on_stock()
def test_burst_of_connections_is_taken(app: AppServer) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * BURST:
        pytest.skip("this user may not open as many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # The kernel alone takes them: a server that is busy accepts nobody.
    app.process.send_signal(signal.SIGSTOP)
    burst = [socket.socket() for _ in range(BURST)]
    try:
        for one in burst:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", app.port))
        assert _connected(burst) == BURST
        app.process.send_signal(signal.SIGCONT)
        for one in burst:
            one.setblocking(True)
            one.sendall(request_bytes("GET", "/", {}))
        # Every one is answered while all are open.
        for one in burst:
            assert Connection(one).take_until(b"whole\r\n0\r\n\r\n") is not None
    finally:
        for one in burst:
            one.close()


def _connected(sockets: list[socket.socket]) -> int:
    """Return how many connections exist after a moment."""
    poller = select.poll()
    for one in sockets:
        poller.register(one, select.POLLOUT)
    descriptors: set[int] = set()
    deadline = time.monotonic() + 3
    while len(descriptors) < len(sockets) and time.monotonic() < deadline:
        for descriptor, _ in poller.poll(100):
            descriptors.add(descriptor)
            poller.unregister(descriptor)
    return len(descriptors)
