"""What SIGTERM leaves to whoever is connected."""

from __future__ import annotations

import signal
import time

import pytest

from tests.acceptance.app_server import AppServer, and_not_on_stock
from tests.acceptance.wire import Response, Stream, request_bytes

# Ten seconds are promised; the machine of a test may be slow.
END_SECONDS = 30.0


@and_not_on_stock(fixture="own_app")
def test_request_in_flight_is_answered_before_the_end(own_app: AppServer) -> None:
    with own_app.connect() as connection, own_app.connect() as idle:
        idle.send(request_bytes("GET", "/", {}))
        idle.take_until(b"whole\r\n0\r\n\r\n")
        connection.send(request_bytes("GET", "/in-flight", {}))
        time.sleep(0.3)
        own_app.process.terminate()
        # A connection between two requests is not waited for, and nobody new is let in.
        assert idle.receive_all() == b""
        with pytest.raises(ConnectionRefusedError), own_app.connect():
            pass
        answer = Response.parse(connection.receive_all())
    assert (answer.body, answer.is_complete) == (b"whole", True)
    assert answer.head["Connection"] == "close"
    assert own_app.process.wait(END_SECONDS) == 0


def test_request_that_waits_to_be_accepted_is_answered_before_the_end(own_app: AppServer) -> None:
    own_app.process.send_signal(signal.SIGSTOP)
    waiting = [own_app.connect(30) for _ in range(200)]
    for connection in waiting:
        connection.send(request_bytes("GET", "/", {}))
    own_app.process.terminate()
    own_app.process.send_signal(signal.SIGCONT)
    for connection in waiting:
        with connection:
            assert Response.parse(connection.receive_all()).body == b"whole"
    assert own_app.process.wait(END_SECONDS) == 0


@and_not_on_stock(fixture="own_app")
def test_request_on_a_connection_that_is_new_is_answered_before_the_end(own_app: AppServer) -> None:
    with own_app.connect() as connection, own_app.connect() as other:
        # Accepted in order: when the second is answered, the first is known.
        other.send(request_bytes("GET", "/", {}))
        other.take_until(b"whole\r\n0\r\n\r\n")
        own_app.process.terminate()
        assert other.receive_all() == b""
        connection.send(request_bytes("GET", "/", {}))
        answer = Response.parse(connection.receive_all())
    assert (answer.body, answer.is_complete) == (b"whole", True)
    assert answer.head["Connection"] == "close"


@and_not_on_stock(fixture="own_app")
def test_open_answer_says_its_last_word_and_is_cut(own_app: AppServer) -> None:
    with own_app.connect() as connection:
        connection.send(request_bytes("GET", "/consumer/last", {}))
        stream = Stream(connection)
        frames = iter(stream)
        assert next(frames).raw == b": begun\n\n"
        own_app.process.terminate()
        assert [frame.raw for frame in frames] == [b"retry: 1000\n\n"]
        assert stream.ended == "cut"
    assert own_app.process.wait(END_SECONDS) == 0


@and_not_on_stock(fixture="own_app")
def test_end_cancels_what_runs_beside_half_sent_requests(own_app: AppServer) -> None:
    with own_app.connect() as half, own_app.connect() as running:
        half.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        running.send(request_bytes("GET", "/slow-to-end", {}))
        running.take_until(b"begun")
        own_app.process.terminate()
        assert own_app.process.wait(END_SECONDS) == 0
    assert own_app.cleaned_up.exists()


def test_end_waits_for_no_client_and_outlasts_further_signals(own_app: AppServer) -> None:
    sent = [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n{",
        request_bytes("GET", "/endless", {}),
        request_bytes("GET", "/slow-to-end", {}),
        request_bytes("GET", "/", {}),
    ]
    connections = [own_app.connect() for _ in sent]
    for connection, data in zip(connections, sent, strict=True):
        connection.send(data)
    time.sleep(0.5)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        own_app.process.send_signal(number)
        time.sleep(0.2)
    assert own_app.process.wait(END_SECONDS) == 0
    assert own_app.cleaned_up.exists()
    for connection in connections:
        connection.close()
