"""Two deployments on one Redis server: neither sees anything of the other (wire.md, 5.1)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.prompts import DELETE_THREE, decide, names, start
from tests.acceptance.server import RunningServer
from tests.acceptance.test_ready import READY, readiness
from tests.acceptance.wire import Frame, Stream
from tests.integration.ears import Ear

pytestmark = pytest.mark.slow

Maker = Callable[..., RunningServer]
REQUESTS = "/aura/hitl/requests"


class Pair:
    """Two servers on one Redis, each with a database and a number in that Redis of its own."""

    def __init__(self, folder: Path, process: RedisProcess, numbers: tuple[int, int]) -> None:
        self.process, self.numbers = process, numbers
        urls = [f"unix://{process.socket}?db={number}" for number in numbers]
        self.ours, self.theirs = (
            # Its first run of its own: a new database has a new id.
            RunningServer(folder / name, env={"REDIS_URL": url})
            for name, url in zip("ab", urls, strict=True)
        )
        self.servers = (self.ours, self.theirs)


@pytest.fixture(scope="module", params=[(0, 1), (0, 0)], ids=["two-numbers", "one-number"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Return two deployments that run."""
    folder = tmp_path_factory.mktemp("pair")
    with running_redis(folder) as process:
        made = Pair(folder, process, request.param)
        try:
            for server in made.servers:
                server.start()
            yield made
        finally:
            for server in made.servers:
                server.end()


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(folder / "redis.sock", folder / "redis")
    process.start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def outside_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with running_redis(tmp_path) as process:
        yield process


@pytest.fixture
def launch(tmp_path: Path, own_server: Maker, outside_redis: RedisProcess) -> Maker:
    """Return a maker of servers that run; takes a name for the data."""

    def launch(name: str) -> RunningServer:
        url = f"unix://{outside_redis.socket}?db=0"
        # Its first run of its own, unless the data are there.
        return own_server(data_dir=tmp_path / name, env={"REDIS_URL": url}).start()

    return launch


def client_of(process: RedisProcess, number: int) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(process.socket), db=number, decode_responses=True)


def id_of(server: RunningServer) -> str:
    with closing(sqlite3.connect(server.data_dir / "dwp.sqlite3")) as connection:
        [(identifier,)] = connection.execute("SELECT identifier FROM deployment_deployment")
    return str(identifier)


def session_keys(server: RunningServer) -> list[int]:
    with closing(sqlite3.connect(server.data_dir / "dwp.sqlite3")) as connection:
        return [pk for (pk,) in connection.execute("SELECT id FROM streaming_session ORDER BY id")]


def finish(stream: Stream, frames: list[Frame]) -> list[Frame]:
    """Read the stream to its end; return all its frames, of which `frames` were read before."""
    frames = [*frames, *stream.events()]
    assert stream.ended == "clean"
    return frames


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_streams_of_two_deployments_do_not_mix(pair: Pair) -> None:
    ours, theirs = pair.servers
    for _ in range(2):
        with start(ours, "POST", DELETE_THREE) as stream, start(theirs, "GET", DELETE_THREE) as b:
            our_frames, their_frames = stream.until("hitl"), b.until("hitl")
            # While our question is pending, theirs is answered and their session ends.
            decide(theirs, "approve", their_frames[-1].json()["requestId"])
            their_frames = finish(b, their_frames)
            decide(ours, "reject", our_frames[-1].json()["requestId"], {"reason": "keep"})
            our_frames = finish(stream, our_frames)

        for frames in (our_frames, their_frames):
            assert names(frames).count("[DONE]") == 1
            assert names(frames)[-1] == "[DONE]"
            ids = [frame.id or 0 for frame in frames[:-1]]
            assert ids == sorted(set(ids))
            assert len({frame.json()["sessionId"] for frame in frames[:-1]}) == 1
        assert names(our_frames)[-2:] == ["error", "[DONE]"]
        assert names(their_frames)[-2:] == ["end", "[DONE]"]
    assert session_keys(ours) == session_keys(theirs)


def test_request_of_one_deployment_is_unknown_to_the_other(pair: Pair) -> None:
    ours, theirs = pair.servers
    with client_of(pair.process, pair.numbers[0]) as client:
        sent = {"sessionId": "session-1", "actionType": "delete_mail", "timeoutSeconds": 600}
        opened = ours.request("POST", REQUESTS, ours.headers(), sent)
        request_id = opened.json()["data"]["requestId"]
        ear = Ear(client, "session-1")

        # An agent's request that both may adopt is adopted meanwhile: scans have passed ours.
        agents = {"requestId": "req-agent", "sessionId": "s-2", "userId": "user123"}
        agents |= {"tenantId": "tenant1", "actionType": "send", "status": "pending"}
        with client_of(pair.process, pair.numbers[1]) as other:
            other.set("hitl:request:req-agent", json.dumps(agents), ex=1800)
        listed = f"{REQUESTS}?status=pending"
        wait_for(lambda: b"req-agent" in theirs.get(listed, theirs.headers()).body)

        assert request_id.encode() not in theirs.get(listed, theirs.headers()).body
        assert theirs.get(f"{REQUESTS}/{request_id}", theirs.headers()).status == 404
        for verb in ("approve", "reject"):
            assert decide(theirs, verb, request_id, role="admin").status == 404
        assert ear.hears_nothing()
        assert decide(ours, "approve", request_id).status == 200
        assert json.loads(str(ear.hear()))["requestId"] == request_id
        ear.close()


def test_each_deployment_knows_by_itself_what_redis_has_lost(pair: Pair) -> None:
    for server, number in zip(pair.servers, pair.numbers, strict=True):
        with client_of(pair.process, number) as client:
            key = f"dwp:hitl:{id_of(server)}:memory"
            run_id = client.info("server")["run_id"]
            wait_for(lambda c=client, k=key, r=run_id: c.get(k) == r)  # type: ignore[misc]
    assert id_of(pair.ours) != id_of(pair.theirs)


@pytest.mark.parametrize("pair", [(0, 1)], ids=["two-numbers"], indirect=True)
def test_deployments_on_two_database_numbers_are_ready(pair: Pair) -> None:
    beats: set[float] = set()
    with client_of(pair.process, 0) as client:

        def has_beaten_five_times() -> bool:
            beats.update(at for _, at in client.zrange("dwp:deployments", 0, -1, withscores=True))
            assert [readiness(server) for server in pair.servers] == [READY, READY]
            return len(beats) >= 5

        wait_for(has_beaten_five_times)
        assert client.zcard("dwp:deployments") == 1


def test_deployments_on_one_database_number_say_so(
    launch: Maker, outside_redis: RedisProcess, tmp_path: Path
) -> None:
    ours, theirs = launch("a"), launch("b")

    def is_late(server: RunningServer, word: str) -> bool:
        status, body = readiness(server)
        assert status == 200
        return body.get("late") == ["redis shared"] and word in body["reason"]

    for server in (ours, theirs):
        wait_for(lambda s=server: is_late(s, "Another deployment"))  # type: ignore[misc]
        assert server.output.count("redis_is_shared ") == 1
    assert theirs.stop() == 0
    wait_for(lambda: readiness(ours) == READY)

    # And a copy of the same database, which has the same id.
    copied = tmp_path / "copy"
    shutil.copytree(ours.data_dir, copied, ignore=shutil.ignore_patterns("*.sqlite3*", "redis*"))
    with (
        closing(sqlite3.connect(ours.data_dir / "dwp.sqlite3")) as one,
        closing(sqlite3.connect(copied / "dwp.sqlite3")) as another,
    ):
        one.backup(another)
    copy = launch("copy")
    assert id_of(copy) == id_of(ours)
    for server in (ours, copy):
        wait_for(lambda s=server: is_late(s, "renew_deployment"))  # type: ignore[misc]
