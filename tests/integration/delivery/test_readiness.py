"""What `/ready` says of a Redis that would not take a signal."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from dwp_project.embedded_redis import find_binary
from hitl.delivery import readiness
from tests.acceptance.server import free_ports
from tests.integration.calls import Api
from tests.integration.outages import redis_at

_SLOTS = range(16384)


@contextmanager
def own_redis(*options: str) -> Iterator[tuple[str, redis.Redis]]:
    """Run a Redis with these options; return its URL, and a client for whoever runs it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path, port = Path(folder) / "redis.sock", free_ports(1)[0] % 40_000 + 10_000
        process = subprocess.Popen(
            [
                *(find_binary(), "--port", str(port), "--unixsocket", path, "--dir", folder),
                *("--save", "", "--cluster-config-file", f"{folder}/nodes.conf", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(unix_socket_path=str(path), protocol=2)
        try:
            _wait_until(path.exists)
            yield f"unix://{path}", client
        finally:
            client.close()
            process.kill()
            process.wait()


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _own_all_slots(client: redis.Redis) -> None:
    client.execute_command("CLUSTER ADDSLOTS", *_SLOTS)
    _wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


def _fail_to_save(client: redis.Redis) -> None:
    client.execute_command("BGSAVE")
    _wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def _nothing(client: redis.Redis) -> None:
    """Leave it as it is."""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "prepare", "name"),
    [
        pytest.param(["--maxmemory", "1"], _nothing, "redis full", id="out-of-memory"),
        pytest.param(["--replicaof", "127.0.0.1 1"], _nothing, "redis read-only", id="replica"),
        pytest.param(
            ["--save", "3600 1", "--dir", "/proc"], _fail_to_save, "redis read-only", id="disk"
        ),
        pytest.param(
            ["--min-replicas-to-write", "1"], _nothing, "redis read-only", id="no-replicas"
        ),
        pytest.param(["--cluster-enabled", "yes"], _nothing, "redis cluster", id="new-cluster"),
        pytest.param(["--cluster-enabled", "yes"], _own_all_slots, "redis cluster", id="cluster"),
        pytest.param(["--requirepass", "secret"], _nothing, "redis rights", id="password"),
    ],
)
def test_ready_is_degraded_while_redis_takes_no_signal(
    api: Api,
    settings: Settings,
    options: list[str],
    prepare: Callable[[redis.Redis], None],
    name: str,
) -> None:
    with own_redis(*options) as (url, client):
        prepare(client)
        with redis_at(settings, url):
            answer = api.get("/ready")

    assert answer.status == 200
    assert (answer.body["status"], answer.body["late"]) == ("degraded", [name])
    assert answer.body["reason"].endswith(".")
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize(
    "rights",
    [
        "~hitl:* ~dwp:* &dwp:* +@all",
        "~dwp:* &* +@all",
        "~* &* +@all -eval",
        "~* &* +@read +@connection +@transaction",
    ],
    ids=["no-channel", "no-key", "no-script", "no-write"],
)
@pytest.mark.django_db
def test_ready_names_rights_that_a_signal_needs(api: Api, settings: Settings, rights: str) -> None:
    with own_redis() as (url, client):
        client.execute_command("ACL SETUSER dwp on >pw resetchannels", *rights.split())
        with redis_at(settings, f"{url}?username=dwp&password=pw"):
            answer = api.get("/ready")

    assert (answer.status, answer.body["late"]) == (200, ["redis rights"])


def test_look_writes_and_publishes_nothing(settings: Settings) -> None:
    with own_redis() as (url, client):
        ear = client.pubsub()
        ear.psubscribe("*")
        assert ear.get_message(timeout=5)
        with redis_at(settings, url):
            assert readiness.look() is None
            assert readiness.look() is None
        assert ear.get_message(timeout=0.2) is None
        ear.close()
        assert client.dbsize() == 0
