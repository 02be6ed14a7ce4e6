"""What `serve` promises to whoever starts it and ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.hashers import make_password

from tests.acceptance.server import CHECKOUT, RunningServer, free_ports

Maker = Callable[..., RunningServer]


@contextmanager
def taken_port() -> Iterator[int]:
    """Listen on a port as another program would."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def password_in(output: str) -> str:
    match = re.search(r"password  (\S+)", output)
    assert match, output
    return match[1]


def test_serve_answers_on_every_port_with_and_without_prefix(server: RunningServer) -> None:
    for port in server.ports:
        for path in ("/health", "/api/health"):
            assert server.get(path, port=port).json()["status"] == "healthy"


def test_serve_shows_tokens_that_are_valid(server: RunningServer) -> None:
    tokens = set(re.findall(r"Bearer (\S+)'", server.output))
    assert len(tokens) == 1
    headers = {"Authorization": f"Bearer {tokens.pop()}", "X-Tenant-ID": "tenant1"}
    assert server.get("/auth/me", headers).json()["data"]["userId"] == "user123"


def test_serve_shows_commands_for_three_scenarios(server: RunningServer) -> None:
    streams = re.findall(r"curl .*--data-urlencode 'message=(.*?)' (\S+)", server.output)
    base = f"http://127.0.0.1:{server.ports[0]}"
    url = f"{base}/api/aura/test/stream"
    assert streams == [("test", url), ("메일 3개를 삭제해주세요", url)]
    decisions = re.findall(rf'"{base}/api/aura/hitl/(\w+)/\$ID"', server.output)
    assert decisions == ["approve", "reject"]


def prompts_in(output: str) -> list[str]:
    return re.findall(r"--data-urlencode 'message=(.*?)'", output)


def test_terminal_of_another_charset_gets_the_banner(own_server: Maker) -> None:
    server = own_server(env={"PYTHONIOENCODING": "euc-kr", "LC_ALL": "C"}).start()

    assert prompts_in(server.output_in("euc-kr")) == ["test", "메일 3개를 삭제해주세요"]
    assert "Traceback" not in server.output
    assert server.stop() == 0


def test_terminal_without_korean_gets_banner_and_reports(own_server: Maker) -> None:
    server = own_server(env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}).start()
    assert prompts_in(server.output) == ["test", "delete 3 mails"]
    headers = server.headers("홍길동", "한국", "admin")
    opening = {"sessionId": "s", "actionType": "delete_mail"}
    opened = server.request("POST", "/aura/hitl/requests", headers, opening)
    assert opened.status == 201, opened.body

    def verify(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", "verify_audit", *options],
            cwd=CHECKOUT,
            env=server.environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        return done.stdout.decode("ascii")

    with ThreadPoolExecutor() as side_by_side:
        text, json_lines = side_by_side.map(lambda options: verify(*options), ([], ["--json"]))
    assert "\\ud55c\\uad6d" in text  # 한국
    lines = [json.loads(line) for line in json_lines.splitlines()]
    assert "한국" in {line.get("tenant") for line in lines}
    assert "Traceback" not in server.output


def test_serve_makes_an_operator_who_can_log_in(server: RunningServer) -> None:
    credentials = {
        "username": "operator",
        "password": password_in(server.output),
        "tenantId": "tenant1",
    }
    answer = server.request("POST", "/api/auth/login", body=credentials)
    assert answer.status == 200, answer.body
    file = server.data_dir / "operator.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_serve_refuses_when_its_first_port_is_taken(own_server: Maker, tmp_path: Path) -> None:
    with taken_port() as port:
        server = own_server(tmp_path / "data", ports=[port, *free_ports(1)])
        server.launch()
        assert server.wait() == 1
    assert f"Port {port} is taken" in server.output
    assert "set PORTS" in server.output
    assert "Traceback" not in server.output
    # Nothing was begun: the next attempt finds a clean folder.
    assert not (server.data_dir / "redis").exists()
    assert not (server.data_dir / "dwp.sqlite3").exists()


def test_serve_goes_without_another_port_that_is_taken(own_server: Maker) -> None:
    with taken_port() as port:
        first, last = free_ports(2)
        server = own_server(ports=[first, port, last]).start()
        assert f"Warning: Port {port} is taken" in server.output
        assert server.get("/health", port=first).status == 200
        assert server.get("/health", port=last).status == 200
        assert server.stop() == 0


def test_serve_refuses_a_weak_secret_and_says_how_to_make_one(own_server: Maker) -> None:
    server = own_server(env={"JWT_SECRET": "short"})
    server.launch()
    assert server.wait() != 0
    assert "JWT_SECRET has 5 bytes; at least 32 are needed" in server.output
    assert "secrets.token_urlsafe(48)" in server.output
    assert "Traceback" not in server.output


def test_serve_ends_everything_on_ctrl_c_with_a_request_half_sent(own_server: Maker) -> None:
    server = own_server().start()
    redis_pid = server.redis().info()["process_id"]
    with server.connect() as half, server.connect() as silent:
        half.send(b"POST /aura/test/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        server.get("/health")
        assert server.stop(signal.SIGINT) == 0
        assert silent.receive_all() == b""
    assert "Traceback" not in server.output
    assert not server.has_redis()
    with pytest.raises(ProcessLookupError):
        os.kill(redis_pid, 0)


def test_serve_cuts_open_streams_when_its_terminal_closes(own_server: Maker) -> None:
    server = own_server().start()
    path = "/aura/test/stream"
    prompt = {"prompt": "delete 3 mails"}
    with server.stream(path, server.headers(), prompt, method="POST") as stream:
        stream.until("hitl")
        assert server.stop(signal.SIGHUP) == 0
        assert not [frame for frame in stream.events() if frame.is_done]
        assert stream.ended == "cut"


def test_serve_started_again_finds_what_was_kept_and_changed(own_server: Maker) -> None:
    server = own_server().start()
    password = password_in(server.output)
    redis_pid = server.redis().info()["process_id"]
    server.redis().set("yesterday", "here", ex=300)
    server.kill()
    assert server.has_redis()
    server.start()
    assert server.redis().info()["process_id"] == redis_pid
    assert server.redis().get("yesterday") == "here"
    assert password_in(server.output) == password
    assert server.stop() == 0
    assert not server.has_redis()

    with closing(sqlite3.connect(server.data_dir / "dwp.sqlite3")) as database, database:
        change = "UPDATE auth_user SET password = ? WHERE username = 'operator'"
        database.execute(change, [make_password("another one")])
    server.start()
    assert server.redis().get("yesterday") == "here"
    assert password not in server.output
    assert "changed by you" in server.output


def test_redis_is_left_to_the_other_server_and_started_again_when_it_died(
    own_server: Maker,
) -> None:
    first = own_server().start()
    second = own_server(first.data_dir).start()
    assert "shared with another process" in second.output
    assert second.stop() == 0
    assert first.has_redis()
    assert first.get("/ready").status == 200

    os.kill(first.redis().info()["process_id"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not first.has_redis():
        assert time.monotonic() < deadline, first.output
        time.sleep(0.1)
    assert first.stop() == 0
    assert not first.has_redis()


def test_stream_of_the_shared_server_ends_cleanly(server: RunningServer) -> None:
    with server.stream("/aura/test/stream?message=test", server.headers()) as stream:
        frames = list(stream.events())
    assert frames[-1].is_done
    assert stream.ended == "clean"
