"""Sessions whose server dies or freezes, with real processes (docs/adr/0021 and 0022)."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dwp_project.datadir import redis_socket
from tests.acceptance.prompts import DELETE_THREE, decide, names, start
from tests.acceptance.server import CHECKOUT, RunningServer, free_ports
from tests.acceptance.wire import Frame, Stream
from tests.integration.takeovers import Worker

# Promised are 15 s.
TAKEOVER_SECONDS = 45.0

Maker = Callable[..., RunningServer]


def attach(server: RunningServer, session_id: str, after: int | None = None) -> Stream:
    """Come back to a session at `server`, after the event with this id."""
    cursor = {} if after is None else {"Last-Event-ID": str(after)}
    headers = {**server.headers(), **cursor}
    return server.stream(f"/api/aura/sessions/{session_id}/stream", headers)


def check_whole(frames: list[Frame]) -> None:
    """Fail unless every event is there once, in order, and `[DONE]` is last."""
    *sent, done = frames
    ids = [frame.id for frame in sent]
    assert done.is_done
    assert ids == list(range(ids[0] or 0, (ids[0] or 0) + len(ids))), ids


@pytest.fixture
def pair(own_server: Maker, tmp_path: Path) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Return two servers on one DATA_DIR: one database, one Redis. The second outlives both
    tests' deaths, so it is started first and has the Redis."""
    second = own_server(env=ENV).start()
    first = own_server(data_dir=second.data_dir, ports=free_ports(1), env=ENV)
    first._output = tmp_path / "first.log"
    first.start()
    yield first, second
    if first.process.poll() is None:
        first.process.send_signal(signal.SIGCONT)


ENV = {"DWP_AGENT_OPTIONS": '{"chunk_delay":0.01,"step_delay":0.01}'}


def asked_at(server: RunningServer) -> tuple[list[Frame], Any]:
    """Start a session at `server`; return its frames up to the question, and that."""
    with start(server, "POST", DELETE_THREE) as stream:
        frames = stream.until("hitl")
    return frames, frames[-1].json()


@pytest.mark.slow
def test_session_goes_on_at_another_server_after_a_kill(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    first, second = pair
    before, asked = asked_at(first)
    with attach(second, asked["sessionId"]) as watching:
        first.kill()
        assert decide(second, "approve", asked["requestId"]).status == 200
        began = time.monotonic()
        seen = list(watching.events())
    took = time.monotonic() - began

    assert took < TAKEOVER_SECONDS
    assert watching.ended == "clean"
    check_whole(seen)
    assert [frame.raw for frame in seen[: len(before)]] == [frame.raw for frame in before]
    assert names(seen).count("hitl") == 1
    assert names(seen)[-2:] == ["end", "[DONE]"]
    with attach(second, asked["sessionId"], after=before[-1].id) as again:
        rest = list(again.events())
    assert [frame.raw for frame in rest] == [frame.raw for frame in seen[len(before) :]]


@pytest.mark.slow
def test_frozen_server_that_wakes_writes_nothing(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    first, second = pair
    _, asked = asked_at(first)
    first.process.send_signal(signal.SIGSTOP)
    assert decide(second, "approve", asked["requestId"]).status == 200
    with attach(second, asked["sessionId"]) as watching:
        seen = list(watching.events())
    check_whole(seen)
    assert names(seen)[-2:] == ["end", "[DONE]"]

    first.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + TAKEOVER_SECONDS
    while not {"lease_lost", "session_ended_elsewhere"} & set(first.output.split()):
        assert time.monotonic() < deadline, first.output
        time.sleep(0.1)
    for server in pair:
        with attach(server, asked["sessionId"]) as stream:
            assert [frame.raw for frame in stream.events()] == [frame.raw for frame in seen]


@pytest.mark.slow
def test_command_carries_on_the_sessions_of_a_process_that_died(own_server: Maker) -> None:
    server = own_server(env=ENV).start()
    asked_at(server)
    server.kill()

    def lease() -> tuple[str, int]:
        with closing(sqlite3.connect(server.data_dir / "dwp.sqlite3", timeout=30)) as database:
            query = "SELECT lease_owner, lease_number FROM streaming_session"
            return tuple(database.execute(query).fetchone())

    owner, number = lease()
    environment = {**server.environment, "REDIS_URL": f"unix://{redis_socket(server.data_dir)}"}
    command = subprocess.Popen(
        [sys.executable, "manage.py", "sessions"], cwd=CHECKOUT, env=environment
    )
    try:
        deadline = time.monotonic() + TAKEOVER_SECONDS
        while lease()[1] == number:
            assert time.monotonic() < deadline
            assert command.poll() is None
            time.sleep(0.2)
        assert lease()[0] not in ("", owner)
        command.terminate()
        assert command.wait(30) == 0
        # What it ran is given back at once.
        assert lease()[0] == ""
    finally:
        command.kill()
        command.wait()


@pytest.mark.slow
def test_server_that_starts_again_finds_its_session_and_repeats_no_recorded_effect(
    own_server: Maker, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    agent = "tests.integration.takeovers.Worker"
    env = {"DWP_AGENT": agent, "DWP_AGENT_OPTIONS": f'{{"path":"{path}"}}'}
    server = own_server(env=env).start()
    with start(server, "POST", DELETE_THREE) as stream:
        first = stream.until("hitl")
        decide(server, "approve", first[-1].json()["requestId"])
        second = stream.until("hitl")
    server.kill()
    assert len(Worker.lines(path)) == 1
    server.start()
    asked = second[-1].json()
    with attach(server, asked["sessionId"], after=second[-1].id) as stream:
        decide(server, "approve", asked["requestId"])
        rest = list(stream.events())

    check_whole([*first, *second, *rest])
    assert names(rest) == ["tool_execution", "tool_execution", "content", "end", "[DONE]"]
    requests = [first[-1].json()["requestId"], asked["requestId"]]
    assert Worker.lines(path) == [f"1 {requests[0]}", f"2 {requests[1]}"]


@pytest.mark.slow
def test_agent_that_cannot_resume_ends_with_the_reason(own_server: Maker) -> None:
    env = {"DWP_AGENT": "tests.integration.small_agents.Asker", "DWP_AGENT_OPTIONS": "{}"}
    server = own_server(env=env).start()
    before, asked = asked_at(server)
    server.kill()
    server.start()
    with attach(server, asked["sessionId"], after=before[-1].id) as stream:
        rest = list(stream.events())

    assert names(rest) == ["failed", "error", "end", "[DONE]"]
    assert rest[0].json()["errorType"] == rest[1].json()["errorType"] == "SessionLost"
    assert "cannot resume" in rest[1].json()["error"]
    late = decide(server, "approve", asked["requestId"])
    assert (late.status, late.json()["errorCode"]) == (410, "E3002")
