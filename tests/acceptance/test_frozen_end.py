"""SIGTERM ends our processes whatever stands still behind them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.prompts import DELETE_THREE, start
from tests.acceptance.server import CHECKOUT, RunningServer, free_ports
from tests.acceptance.wire import Stream, request_bytes
from tests.chaos.postgres import Postgres

# Ten seconds are promised; the machine of a test may be slow.
END_SECONDS = 30.0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    own = Postgres(tmp_path / "postgres", free_ports(1)[0])
    try:
        asyncio.run(own.start())
        yield own
    finally:
        own.end()


def handles_sigterm(pid: int) -> bool:
    """Say whether the process has come so far that it ends in its own way."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def test_server_and_its_loops_end_with_a_frozen_database(
    own_server: Callable[..., RunningServer], postgres: Postgres, tmp_path: Path
) -> None:
    server = own_server(env={"DATABASE_URL": postgres.url}).start()
    loops = [
        subprocess.Popen([sys.executable, "manage.py", name], cwd=CHECKOUT, env=server.environment)
        for name in ("relay", "clock", "sessions")
    ]
    try:
        asked = waiting_agent(server)
        time.sleep(5)
        while not all(handles_sigterm(loop.pid) for loop in loops):
            time.sleep(0.1)
        assert [loop.poll() for loop in loops] == [None] * 3
        with frozen(family_of(postmaster(tmp_path))):
            # Every thread that may call the database soon waits for it.
            waiting = [server.connect() for _ in range(20)]
            for connection in waiting:
                connection.send(request_bytes("GET", "/api/aura/hitl/requests", server.headers()))
            time.sleep(1.5)
            for loop in loops:
                loop.terminate()
            assert server.stop() == 0, server.output
            assert [loop.wait(END_SECONDS) for loop in loops] == [0] * 3
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    asked.close()
    for connection in waiting:
        connection.close()


def test_server_ends_with_a_frozen_redis(
    own_server: Callable[..., RunningServer], outside_redis: RedisProcess
) -> None:
    server = own_server(env={"REDIS_URL": f"unix://{outside_redis.socket}"}).start()
    asked = waiting_agent(server)
    with outside_redis.client() as client:
        pid = int(client.info("server")["process_id"])
    with frozen([pid]):
        time.sleep(1)
        assert server.stop() == 0, server.output
    asked.close()


def test_server_ends_with_its_own_redis_frozen(own_server: Callable[..., RunningServer]) -> None:
    server = own_server().start()
    asked = waiting_agent(server)
    pid = int(server.redis().info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1)
        began = time.monotonic()
        assert server.stop() == 0, server.output
        assert time.monotonic() - began < END_SECONDS
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    asked.close()


def waiting_agent(server: RunningServer) -> Stream:
    """Return the stream of an agent that waits for an answer."""
    stream = start(server, "POST", DELETE_THREE)
    next(frame for frame in stream if frame.event == "hitl")
    return stream


def postmaster(tmp_path: Path) -> int:
    return int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])


@contextmanager
def frozen(processes: list[int]) -> Iterator[None]:
    """Stop these processes, and let them go on at the end."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def family_of(pid: int) -> list[int]:
    """Return a process and its children, that one first: it starts no more of them."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [pid, *map(int, listed.stdout.split())]
