"""No header that a client may send makes a failure, or an answer that does not come."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Head

# Every header that the server, Django or the application reads.
NAMES = [
    *("Accept", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers"),
    *("Access-Control-Request-Method", "Access-Control-Request-Private-Network", "Authorization"),
    *("Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie"),
    *("Daphne-Root-Path", "Expect", "Forwarded", "Host", "Idempotency-Key", "If-Match"),
    *("If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Keep-Alive", "Last-Event-ID"),
    *("Origin", "Range", "Referer", "TE", "Transfer-Encoding", "Upgrade", "User-Agent"),
    *("X-Agent-ID", "X-CSRFToken", "X-DWP-Caller-Type", "X-DWP-Source", "X-Forwarded-For"),
    *("X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Gateway-Request-Id"),
    *("X-HTTP-Method-Override", "X-Requested-With", "X-Tenant-ID", "X-Trace-Id", "X-User-ID"),
    "X-Nobody-Reads-This",
]
# What is not HTTP in these, or leaves the server waiting for a body, may close the connection.
FRAMING = ("Connection", "Content-Length", "Expect", "Transfer-Encoding")
VALUES = [
    *(b"", b" ", b"\xff\xfe", b"\xed\xa0\x80", b"\x80", b"\xc2", b"\xc3\x28", "홍길동".encode()),
    *(b"\x01", b"\x7f", b"\t", b"%00", b"%", b"%ff%fe", b"\\000", b'"', b'"\\000"', b"'", b"\\"),
    *(b"0", b"-1", b"9" * 400, b"1e999", b"nan", b"\xb2", b"1" + b"_000"),
    *(b",", b",,,", b";", b";;=;", b"=", b"a=b; c", b"*", b"*/*;q=x", b"a" * 8000, b"a," * 4000),
    *(b"\xff" * 4000, b"[", b"[]", b"[::1", b"[::1]:x", b"::1", b"http://[", b"http://[::1]]"),
    *(b"null", b"None", b"bytes=0-", b"bytes=-", b"bytes=9-1", b"bytes=0-1,5-9", b"chunked"),
    *(
        b"Bearer",
        b"Bearer ",
        b"Bearer a.b.c",
        b"Bearer \xff",
        b"Basic \xff",
        b"Bearer " + b"." * 9000,
    ),
    *(b"multipart/form-data", b"multipart/form-data; boundary=\xff", b"text/x; charset=nothing"),
    *(b"application/x-www-form-urlencoded; charset=utf-16", b"application/json; charset=\x80"),
    *(
        b'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000"',
        b"csrftoken=\xff",
        b"messages=x:y:z",
    ),
    *(b"django_language=../../x", b"zh-Hans-x-\xff", b"x" * 600, b"en;q=9", b"ko-" + b"a-" * 300),
    *(
        b"Thu, 99 Foo 0000 99:99:99 GMT",
        b"Mon, 01 Jan 99999 00:00:00 GMT",
        b'W/"x"',
        b"100-continue",
    ),
    *(
        b"localhost:99999",
        b"a b",
        b"..",
        b"/",
        b"\xe2\x80\xae",
        b"https",
        b"javascript",
        b"1.2.3.4:x",
    ),
    *(b"1.2.3.4, unknown, \xff", b"for=\xff", b'for="[::1"', b"websocket", b"DELETE", b"h2c"),
]
PATHS = [
    ("GET", "/api/aura/hitl/requests", b""),
    ("GET", "/aura/hitl/requests/req_none", b""),
    ("GET", "/aura/hitl/requests/req_none/wait?timeout=1", b""),
    ("POST", "/aura/hitl/approve/req_none", b"{}"),
    ("POST", "/aura/hitl/requests", b'{"sessionId":"s","actionType":"x"}'),
    ("GET", "/api/aura/test/stream?message=test", b""),
    ("POST", "/agent/chat-stream", b'{"prompt":"test"}'),
    ("GET", "/aura/sessions/none/stream", b""),
    ("POST", "/auth/login", b'{"username":"u","password":"p"}'),
    ("GET", "/auth/policy", b""),
    ("GET", "/health", b""),
    ("GET", "/ready", b""),
    ("GET", "/schema/", b""),
    ("OPTIONS", "/aura/hitl/requests", b""),
    ("OPTIONS", "/nothing", b""),
    ("GET", "/admin/", b""),
    ("GET", "/admin/login/", b""),
    ("POST", "/admin/login/", b"username=u&password=p"),
    ("GET", "/admin/hitl/approvalrequest/live/", b""),
    ("POST", "/admin/book/export", b"tenant=tenant1&format=csv"),
    ("GET", "/static/hitl/desk.css", b""),
    ("GET", "/docs/", b""),
]
# Chosen, so that a mode takes a few seconds; each has others.
ATTEMPTS = 250
SECONDS = 20.0


@pytest.fixture(scope="module", params=["false", "true"], ids=["direct", "behind a proxy"])
def fuzzed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    data_after_first_run: Path,
) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.mktemp("fuzzed") / "data"
    shutil.copytree(data_after_first_run, data_dir)
    running = RunningServer(data_dir, env={"BEHIND_PROXY": request.param})
    try:
        yield running.start()
    finally:
        running.end()


def attempts(server: RunningServer, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield headers with values at a path by chance, some with others together."""
    chance = random.Random(seed)
    pairs = [(name, value) for name in NAMES for value in VALUES]
    chance.shuffle(pairs)
    for number in range(ATTEMPTS):
        together = [chance.choice(pairs) for _ in range(chance.choice([0, 0, 1, 3]))]
        yield _request(server, chance, [pairs[number % len(pairs)], *together])


def _request(
    server: RunningServer, chance: random.Random, odd: list[tuple[str, bytes]]
) -> tuple[str, str, bytes]:
    method, path, body = chance.choice(PATHS)
    headers: list[tuple[str, bytes]] = [("Host", b"localhost"), ("Connection", b"close")]
    if chance.random() < 0.7:
        headers += [(name, value.encode()) for name, value in server.headers().items()]
    if body:
        headers.append(("Content-Length", str(len(body)).encode()))
    replaced = {name for name, _ in odd} if chance.random() < 0.7 else set()
    sent = [(name, value) for name, value in headers if name not in replaced] + odd
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in sent)
    return method, path, f"{method} {path} HTTP/1.1\r\n".encode() + head + b"\r\n" + body


def status_of(server: RunningServer, data: bytes) -> int | None:
    """Return the status of the first answer; None if the connection was closed without one."""
    with server.connect() as connection:
        connection.socket.settimeout(SECONDS)
        with suppress(ConnectionError):
            connection.send(data)
        head = connection.take_until(b"\r\n\r\n")
        while head is not None and head.startswith(b"HTTP/1.1 1"):
            head = connection.take_until(b"\r\n\r\n")
        return None if head is None else Head.parse(head).status


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_header_makes_a_failure(fuzzed: RunningServer) -> None:
    failures = []

    for method, path, data in attempts(fuzzed, seed=15 + (fuzzed.env["BEHIND_PROXY"] == "true")):
        try:
            status = status_of(fuzzed, data)
        except TimeoutError:
            status = -1
        names = {
            line.split(b":")[0].decode() for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        }
        is_framed = names.isdisjoint(FRAMING[1:])
        if status is None and not is_framed:
            continue
        if status is None or status < 100 or status >= 500:
            failures.append((status, method, path, data[:600]))

    assert not failures, failures[:5]
    assert "Traceback" not in fuzzed.output
    assert fuzzed.get("/health").status == 200
