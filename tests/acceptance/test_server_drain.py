"""What SIGTERM to `serve` leaves to its clients: a way to go on elsewhere."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.prompts import START_PATH
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Frame, Response, request_bytes

STREAMS = 12
# Ten seconds are promised; the machine of a test may be slow.
END_SECONDS = 30.0


def test_serve_sends_its_clients_elsewhere_on_sigterm(
    own_server: Callable[..., RunningServer],
) -> None:
    server = own_server().start()
    prompt = {"prompt": "delete 3 mails"}
    streams = [
        server.stream(START_PATH, server.headers(), prompt, method="POST") for _ in range(STREAMS)
    ]
    seen = [stream.until("hitl") for stream in streams]
    request_id = seen[0][-1].json()["requestId"]
    wait = server.connect()
    path = f"/aura/hitl/requests/{request_id}/wait?timeout=60"
    wait.send(request_bytes("GET", path, server.headers()))
    just_begun = server.connect()
    just_begun.send(request_bytes("POST", START_PATH, server.headers(), prompt))
    half = server.connect()
    half.send(request_bytes("POST", START_PATH, server.headers(), prompt)[:-5])
    time.sleep(1)

    begun = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        server.process.send_signal(number)
        time.sleep(0.3)
    with ThreadPoolExecutor(STREAMS) as readers:
        rests: list[list[Frame]] = list(readers.map(list, streams))
    waited = Response.parse(wait.receive_all())
    last_words = just_begun.receive_all()
    assert server.process.wait(END_SECONDS) == 0
    assert time.monotonic() - begun < END_SECONDS

    pauses = set()
    for stream, rest in zip(streams, rests, strict=True):
        match = re.fullmatch(rb"retry: ([0-9]+)\n\n", rest[-1].raw)
        assert match
        pauses.add(int(match[1]))
        assert not [frame for frame in rest if frame.is_done]
        assert stream.ended == "cut"
    assert all(0 < pause <= 10_000 for pause in pauses)
    assert len(pauses) > 1
    assert b"retry: " in last_words
    assert not last_words.endswith(b"0\r\n\r\n")
    assert (waited.status, waited.json()["data"]["status"]) == (202, "pending")
    assert "Traceback" not in server.output
    assert server.output.rstrip().endswith("Ended.")
    assert not server.has_redis()
    for connection in (wait, just_begun, half, *(stream.connection for stream in streams)):
        connection.close()


def test_stream_whose_client_does_not_read_does_not_keep_serve_from_ending(
    own_server: Callable[..., RunningServer],
) -> None:
    server = own_server().start()
    sleepers = [server.connect() for _ in range(5)]
    for sleeper in sleepers:
        sleeper.send(request_bytes("GET", "/api/schema/", server.headers()) * 100)
    time.sleep(1)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < END_SECONDS
    assert "Traceback" not in server.output
    for sleeper in sleepers:
        sleeper.close()
