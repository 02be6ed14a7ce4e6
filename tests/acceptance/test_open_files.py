"""What a server does when it may open too few files (docs/how-to/deploy.md)."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Connection, Response, request_bytes

LIMIT = 240
HEALTH = request_bytes("GET", "/health", {})


@pytest.fixture
def confined(own_server: Callable[..., RunningServer]) -> RunningServer:
    """Return a running server that may open few files."""
    server = own_server(env={"LANG": "C.UTF-8"})
    server.command = ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh", *server.command]
    return server.start()


@pytest.fixture
def connected() -> Iterator[ExitStack]:
    """Return a stack of connections that are closed in the end."""
    with ExitStack() as stack:
        yield stack


def test_a_low_limit_is_said_at_start_with_what_to_do(confined: RunningServer) -> None:
    [line] = _lines(confined, "open_files_limit_is_low")
    assert str(LIMIT) in line
    assert "ulimit -n" in line


def test_a_client_too_many_is_refused_and_those_connected_go_on(
    confined: RunningServer, connected: ExitStack
) -> None:
    served = [connected.enter_context(confined.connect())]
    while (refusal := _answer(served[-1])).status == 200:
        assert len(served) < LIMIT
        served.append(connected.enter_context(confined.connect()))

    assert refusal.status == 503
    assert refusal.json()["errorCode"] == "E5003"
    assert refusal.head["Retry-After"] == "1"
    assert not served.pop().was_reset
    assert len(served) >= LIMIT // 4
    assert _answer(served[0]).status == 200
    assert "ulimit -n" in _lines(confined, "connections_refused")[0]

    served[0].close()
    _until_served(confined)


def test_a_server_that_can_open_no_file_says_so_and_recovers(
    own_server: Callable[..., RunningServer], connected: ExitStack
) -> None:
    server = own_server().start()
    before = connected.enter_context(server.connect())
    assert _answer(before).status == 200
    pid = server.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
    late = connected.enter_context(server.connect())
    _until(lambda: _lines(server, "no_file_can_be_opened"))

    assert _answer(before).status == 200
    assert "ulimit -n" in _lines(server, "no_file_can_be_opened")[0]
    # It waits; a loop that tried again at once would take a whole processor.
    used = _processor_seconds(pid)
    time.sleep(2)
    assert _processor_seconds(pid) - used < 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert _answer(late).status == 200


def _answer(connection: Connection) -> Response:
    """Ask for /health on a connection that stays open."""
    connection.send(HEALTH)
    head = connection.take_until(b"\r\n\r\n")
    assert head is not None
    length = next(
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    )
    body = connection.take(length)
    assert body is not None
    return Response.parse(head + body)


def _lines(server: RunningServer, event: str) -> list[str]:
    return [line for line in server.output.splitlines() if event in line]


def _processor_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _until_served(server: RunningServer) -> None:
    def is_served() -> bool:
        with server.connect() as connection:
            return _answer(connection).status == 200

    _until(is_served)
