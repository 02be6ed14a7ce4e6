"""What the server promises whatever the application does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT, free_ports
from tests.acceptance.wire import Connection, Response, request_bytes


class FailingServer:
    """The server with `failing_app` on one port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self.cleaned_up = folder / "cleaned-up"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.acceptance.failing_app",
                str(self.port),
                str(self.cleaned_up),
            ],
            cwd=CHECKOUT,
            env=dict(os.environ),
        )

    def connect(self) -> Connection:
        return Connection(socket.create_connection(("127.0.0.1", self.port), 5))

    def get(self, path: str, version: bytes = b"1.1") -> bytes:
        """Return every byte of the answer on a connection that is not to be kept."""
        request = request_bytes("GET", path, {"Connection": "close"})
        with self.connect() as connection:
            connection.send(request.replace(b"HTTP/1.1", b"HTTP/" + version, 1))
            return connection.receive_all()

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[FailingServer]:
    server = FailingServer(tmp_path)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def test_failure_before_the_headers_is_answered_in_the_envelope(failing: FailingServer) -> None:
    for path in ("/fail", "/silent"):
        answer = Response.parse(failing.get(path))
        assert answer.status == 500
        assert answer.head["Content-Type"] == "application/json"
        assert answer.json()["errorCode"] == "E1000"


def test_failure_after_the_headers_cuts_the_answer_and_harms_no_other(
    failing: FailingServer,
) -> None:
    for _ in range(3):
        for path in ("/fail-late", "/stop-late"):
            answer = Response.parse(failing.get(path))
            assert answer.body == b"begun"
            assert not answer.is_complete
        assert Response.parse(failing.get("/fail")).status == 500
        assert Response.parse(failing.get("/")).body == b"whole"


def test_failure_after_the_headers_is_no_clean_end_for_http_1_0(failing: FailingServer) -> None:
    with failing.connect() as connection:
        connection.send(b"GET /fail-late HTTP/1.0\r\n\r\n")
        connection.receive_all()
        assert connection.was_reset


def test_end_cancels_what_runs_beside_half_sent_requests(failing: FailingServer) -> None:
    with failing.connect() as half, failing.connect() as running:
        half.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        running.send(request_bytes("GET", "/slow-to-end", {}))
        running.take_until(b"begun")
        failing.process.terminate()
        assert failing.process.wait(20) == 0
    assert failing.cleaned_up.exists()
