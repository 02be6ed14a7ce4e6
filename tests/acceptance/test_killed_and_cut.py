"""What a process decided and then could not send is sent by another one: it died before anybody was
woken, or its link to Redis is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.acceptance.prompts import DELETE_THREE, decide, names, read_request, start
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import request_bytes
from tests.chaos.cluster import SECRET, Cluster
from tests.integration.ears import Ear

# Longer than anything here looks back.
HELD_SECONDS = 60.0
# Promised are 6 s; the machine of a test may be slow.
HEARD_SECONDS = 30.0
REQUESTS = "/aura/hitl/requests"


class Two:
    """Two servers on one PostgreSQL and one Redis, each with a link to Redis of its own."""

    def __init__(self, cluster: Cluster, runner: asyncio.Runner, folder: Path) -> None:
        self.cluster, self.run = cluster, runner.run
        # Clients of servers that run already.
        self.first, self.second = (
            RunningServer(folder, ports=[port], env={"JWT_SECRET": SECRET})
            for port in cluster.server_ports
        )

        self.redis = redis.Redis(port=cluster.redis_port, decode_responses=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    cluster = Cluster(2, question_seconds=600, notifications=True)
    with asyncio.Runner() as runner:
        try:
            runner.run(cluster.start())
            two = Two(cluster, runner, tmp_path_factory.mktemp("clients") / "data")
            with two.redis:
                yield two
        finally:
            runner.run(cluster.stop())
            cluster.remove()


def opened(server: RunningServer, session_id: str) -> str:
    body = {"sessionId": session_id, "actionType": "delete_mail"}
    answer = server.request("POST", REQUESTS, server.headers(), body)
    return str(answer.json()["data"]["requestId"])


def heard(ear: Ear) -> str:
    """Return the request whose decision an agent hears."""
    message = ear.hear(HEARD_SECONDS)
    assert message is not None
    return str(json.loads(message)["requestId"])


@pytest.mark.slow
def test_signal_of_a_process_that_is_cut_from_redis_is_sent_by_another(two: Two) -> None:
    request_id = opened(two.first, "session-cut")
    answer = decide(two.first, "approve", request_id)
    assert (answer.status, answer.head["X-DWP-Signal"]) == (200, "pending")

    two.run(two.cluster.links.cut(0, True))
    try:
        ear = Ear(two.redis, "session-cut")
        assert heard(ear) == request_id
        ear.close()
    finally:
        two.run(two.cluster.links.cut(0, False))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_decision_whose_process_dies_before_its_late_commit_reaches_everybody(two: Two) -> None:
    with start(two.second, "POST", DELETE_THREE) as stream, ThreadPoolExecutor() as threads:
        asked = stream.until("hitl")[-1].json()
        request_id, ear = asked["requestId"], Ear(two.redis, asked["sessionId"])
        waiting = threads.submit(status_at_the_end, two.second, request_id)
        path = f"/api/aura/hitl/approve/{request_id}"
        decision = request_bytes("POST", path, two.first.headers())

        async def die_before_the_commit() -> None:
            async with two.cluster.commits_held(0):
                with two.first.connect() as connection:
                    connection.send(decision)
                    await asyncio.sleep(HELD_SECONDS)
                    two.cluster.servers[0].kill()
                assert read_request(two.second, request_id)["status"] == "pending"

        two.run(die_before_the_commit())

        assert heard(ear) == request_id
        assert names(list(stream.events()))[-2:] == ["end", "[DONE]"]
        assert waiting.result(HEARD_SECONDS) == "approved"
        ear.close()
    two.run(two.cluster.start_server(0))


def status_at_the_end(server: RunningServer, request_id: str) -> str:
    """Wait over REST, as often as it takes; return what the request came to."""
    while True:
        answer = server.get(f"{REQUESTS}/{request_id}/wait?timeout=5", server.headers())
        if answer.status != 202:
            return str(answer.json()["data"]["status"])
