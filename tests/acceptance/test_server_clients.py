"""What a client that does not read, or reads slowly, costs the server and itself."""

from __future__ import annotations

import select
import socket
import time

import pytest

from tests.acceptance.app_server import AppServer, and_not_on_stock
from tests.acceptance.wire import Connection, request_bytes

MEMORY = 5 * 1024 * 1024
# Ten seconds are promised; the machine of a test may be slow.
CUT_SECONDS = 30.0


@and_not_on_stock()
@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(request_bytes("GET", "/endless", {}), id="one endless answer"),
        pytest.param(request_bytes("GET", "/heavy", {}) * 40, id="many answers"),
    ],
)
def test_client_that_does_not_read_costs_little_and_is_cut_off(
    app: AppServer, request_: bytes
) -> None:
    app.get("/heavy")
    before = app.memory()
    with _narrow(app) as connection:
        connection.send(request_)
        time.sleep(2)
        assert app.memory() - before < MEMORY
        assert _is_reset(connection, CUT_SECONDS)
        assert app.memory() - before < MEMORY
    assert app.answer("/").body == b"whole"


def test_client_that_does_not_read_and_goes_on_sending_costs_little(app: AppServer) -> None:
    app.get("/heavy")
    before = app.memory()
    with _narrow(app) as connection:
        connection.socket.settimeout(0.5)
        connection.send(request_bytes("GET", "/endless", {}))
        with pytest.raises(TimeoutError):
            # Requests that wait for their turn are not read without end.
            connection.send(request_bytes("GET", "/", {}) * 1_000_000)
        assert app.memory() - before < MEMORY


@pytest.mark.slow
def test_client_that_reads_slowly_gets_everything(app: AppServer) -> None:
    with _narrow(app) as connection:
        connection.send(request_bytes("GET", "/large", {"Connection": "close"}))
        begun = time.monotonic()
        received = b""
        while time.monotonic() - begun < 9:
            received += connection.take(8192) or b""
            time.sleep(0.5)
        assert (received + connection.receive_all()).endswith(b"whole\r\n0\r\n\r\n")


def test_answers_are_whole_when_requests_wait_for_their_turn(app: AppServer) -> None:
    with app.connect(30) as connection:
        connection.send(request_bytes("GET", "/large", {}) * 5 + request_bytes("GET", "/", {}))
        for _ in range(5):
            assert connection.take_until(b"whole\r\n0\r\n\r\n") is not None
        assert connection.take_until(b"whole\r\n0\r\n\r\n") is not None
        connection.send(request_bytes("GET", "/", {"Connection": "close"}))
        assert connection.receive_all().endswith(b"whole\r\n0\r\n\r\n")


def test_client_that_leaves_while_it_is_waited_for_leaves_nothing_behind(app: AppServer) -> None:
    for _ in range(20):
        with _narrow(app) as connection:
            connection.send(request_bytes("GET", "/endless", {}))
            connection.take(100)
    assert app.answer("/").body == b"whole"


def _narrow(app: AppServer) -> Connection:
    """Connect with a window so small that a pause in reading is felt at once."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", app.port))
    return Connection(client)


def _is_reset(connection: Connection, seconds: float) -> bool:
    """Return whether the connection breaks within `seconds`; nothing is read."""
    poller = select.poll()
    poller.register(connection.socket, 0)
    return bool(poller.poll(seconds * 1000))


@and_not_on_stock()
def test_request_finds_nothing_of_the_one_before_on_its_connection(app: AppServer) -> None:
    with app.connect() as connection:
        connection.send(request_bytes("GET", "/context", {}) * 3)
        for _ in range(3):
            answer = connection.take_until(b"\r\n0\r\n\r\n")
            assert answer is not None
            assert b"nothing" in answer
