"""Hosts whose clocks are wrong, beside one whose clock is right: one database and one Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import POSTGRES_PASSWORD
from tests.acceptance.server import CHECKOUT, RunningServer, free_ports
from tests.acceptance.test_ready import READY, readiness
from tests.chaos.postgres import Postgres
from tests.integration import redis_agents

Maker = Callable[..., RunningServer]
MONITOR = {"Authorization": "Bearer a-monitor"}
TERM_SECONDS = 15


def with_clock(server: RunningServer, seconds_ahead: float) -> RunningServer:
    """Start the server on a host whose clock is so far ahead."""
    server.seconds_ahead = seconds_ahead
    server.command[1:1] = ["-m", "tests.acceptance.shifted", str(seconds_ahead)]
    return server.start()


@pytest.fixture
def right(own_server: Maker, postgres: Postgres, redis_client: redis.Redis) -> RunningServer:
    """Return a server whose host's clock is the database's and Redis's."""
    url = postgres.url.replace("postgres@", f"dwp:{POSTGRES_PASSWORD}@")
    env = {
        "DATABASE_URL": url.replace("/postgres", "/dwp"),
        "REDIS_URL": os.environ["REDIS_URL"],
        "METRICS_TOKEN": "a-monitor",
    }
    return own_server(env=env).start()


@pytest.fixture
def beside(right: RunningServer, own_server: Maker, tmp_path: Path) -> Callable[[float], Any]:
    """Return a starter of another server of the same deployment, whose host's clock is ahead."""

    def start(seconds_ahead: float) -> RunningServer:
        server = own_server(data_dir=right.data_dir, ports=free_ports(1), env=right.env)
        server._output = tmp_path / "beside.log"
        return with_clock(server, seconds_ahead)

    return start


def opened(server: RunningServer, session_id: str) -> dict[str, Any]:
    body = {
        "sessionId": session_id,
        "actionType": "delete_mail",
        "timeoutSeconds": TERM_SECONDS,
    }
    answer = server.request("POST", "/aura/hitl/requests", server.headers(), body)
    assert answer.status == 201, answer.body
    request: dict[str, Any] = answer.json()["data"]
    return request


def read(server: RunningServer, request_id: str) -> dict[str, Any]:
    answer = server.get(f"/aura/hitl/requests/{request_id}", server.headers())
    assert answer.status == 200, answer.body
    request: dict[str, Any] = json.loads(answer.json()["data"])
    return request


def skew(server: RunningServer, of: str) -> float:
    """Return what `/metrics` says of a clock."""
    lines = server.get("/metrics", MONITOR).body.decode().splitlines()
    [value] = [
        line.split()[1] for line in lines if line.startswith(f'dwp_clock_skew_seconds{{of="{of}"}}')
    ]
    return float(value)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_questions_wait_for_their_term_beside_a_host_that_is_ahead(
    right: RunningServer, beside: Callable[[float], RunningServer]
) -> None:
    ahead = beside(20)
    servers = (right, ahead)
    asked = [opened(server, f"session-{number}") for number, server in enumerate(servers)]
    began = time.monotonic()
    ids = [request["requestId"] for request in asked]

    for request in asked:
        assert abs(request["createdAt"] / 1000 - time.time()) < 5
        assert request["expiresAt"] == request["createdAt"] + TERM_SECONDS * 1000

    # The host that is ahead has looked for overdue requests several times.
    time.sleep(5)
    assert [read(server, name)["status"] for server in servers for name in ids] == ["pending"] * 4
    while "pending" in (
        states := [read(server, name)["status"] for name in ids for server in servers]
    ):
        assert time.monotonic() - began < TERM_SECONDS + 30, states
        time.sleep(0.2)
    assert states == ["expired"] * 4
    # Less what the answer to the opening took.
    assert time.monotonic() - began > TERM_SECONDS - 2

    assert readiness(right) == READY
    status, body = readiness(ahead)
    assert (status, body["status"], body["late"]) == (200, "degraded", ["clock"])
    assert body["reason"].startswith(
        "This host's clock is 20.0 s ahead of the database's and 20.0 s ahead of Redis's: "
    )
    for of in ("database", "redis"):
        assert abs(skew(right, of)) < 1
        assert abs(skew(ahead, of) - 20) < 1
    assert "clock_skewed" not in right.output
    # Each clock once, however often it is read.
    assert ahead.output.count("clock_skewed") == 2


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_host_that_is_behind_decides_after_the_question_was_asked(
    right: RunningServer, beside: Callable[[float], RunningServer], redis_client: redis.Redis
) -> None:
    behind = beside(-600)
    name = opened(right, "session-of-rest")["requestId"]
    answer = behind.request("POST", f"/aura/hitl/approve/{name}", behind.headers())
    assert answer.status == 200, answer.body

    decided = read(right, name)
    assert decided["createdAt"] <= decided["approvedAt"] <= time.time() * 1000 + 1000

    right.stop()
    asked = redis_agents.asks(redis_client, "session-on-redis", age=10)
    adopted = read(behind, asked)
    assert abs(time.time() - 10 - adopted["createdAt"] / 1000) < 5
    assert adopted["expiresAt"] == adopted["createdAt"] + 300_000
    answer = behind.request("POST", f"/aura/hitl/approve/{asked}", behind.headers())
    assert answer.status == 200, answer.body
    assert read(behind, asked)["approvedAt"] >= adopted["createdAt"]

    command = [sys.executable, "manage.py", "verify_audit"]
    verified = subprocess.run(
        command, cwd=CHECKOUT, env=behind.environment, capture_output=True, text=True, check=False
    )
    # 3: no checkpoint vouches for records this young.
    assert verified.returncode in (0, 3), verified.stdout + verified.stderr
    assert readiness(behind)[1]["reason"].startswith(
        "This host's clock is 600.0 s behind the database's"
    )


def test_ready_compares_the_clock_with_redis_alone_on_sqlite(
    own_server: Maker, redis_client: redis.Redis
) -> None:
    server = own_server(env={"REDIS_URL": os.environ["REDIS_URL"], "METRICS_TOKEN": "a-monitor"})
    with_clock(server, 20)

    status, body = readiness(server)

    assert (status, body["late"]) == (200, ["clock"])
    assert body["reason"].startswith("This host's clock is 20.0 s ahead of Redis's: ")
    assert 'of="database"' not in server.get("/metrics", MONITOR).body.decode()
