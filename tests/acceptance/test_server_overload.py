"""A server with more to do than it can: docs/reference/wire.md, 2, E5003."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from dwp_project.offload import REQUEST_THREADS
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Connection, Response, request_bytes

PATH = "/api/aura/hitl/requests"
# Five seconds are promised; the machine of a test may be slow.
REFUSED_SECONDS = 15.0


def asking(server: RunningServer, request_id: str) -> Connection:
    """Send an opening and do not wait for its answer."""
    body = {"requestId": request_id, "sessionId": request_id, "actionType": "pay", "message": "?"}
    connection = server.connect()
    connection.socket.settimeout(60)
    headers = server.headers() | {"Connection": "close"}
    connection.send(request_bytes("POST", PATH, headers, body))
    return connection


def answered(connection: Connection) -> Response:
    with connection:
        return Response.parse(connection.receive_all())


def threads(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


def test_overloaded_server_refuses_answers_health_and_forgets_who_left(
    own_server: Callable[..., RunningServer],
) -> None:
    server = own_server().start()
    before = threads(server)
    # A request that writes waits for this transaction, and keeps its thread.
    file = server.data_dir / "dwp.sqlite3"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        first = [asking(server, f"first-{number}") for number in range(REQUEST_THREADS)]
        time.sleep(1)
        leavers = [asking(server, f"left-{number}") for number in range(20)]
        begun = time.monotonic()
        last = [asking(server, f"last-{number}") for number in range(20)]
        time.sleep(1)
        for connection in leavers:
            connection.socket.close()

        assert server.get("/api/health").status == 200
        assert threads(server) <= before + REQUEST_THREADS + 8
        refused = [answered(connection) for connection in last]
        assert time.monotonic() - begun < REFUSED_SECONDS
        database.execute("ROLLBACK")

    for answer in refused:
        assert (answer.status, answer.json()["errorCode"]) == (503, "E5003")
        assert answer.head["Retry-After"] == "1"
    assert [answered(connection).status for connection in first] == [201] * REQUEST_THREADS
    asked = server.get(f"{PATH}?status=pending", server.headers()).json()["data"]["items"]
    assert {item["requestId"] for item in asked} == {f"first-{n}" for n in range(REQUEST_THREADS)}
