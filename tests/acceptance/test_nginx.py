"""deploy/nginx.conf in a real nginx: updates without an error, and its own errors."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.certificates import make_certificate
from tests.acceptance.programs import NGINX_CONF, Nginx, nginx
from tests.acceptance.prompts import START_PATH
from tests.acceptance.server import RunningServer, free_ports
from tests.acceptance.wire import Connection, Frame, Head, Response, Stream, request_bytes

Maker = Callable[..., RunningServer]


class Upstream:
    """Reads HTTP requests on a port and keeps them; answers each with what `answer` returns, and
    closes the connection without an answer if that is None."""

    def __init__(self, answer: Callable[[], bytes | None]) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._ear.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ear.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._ear.close()

    def _run(self) -> None:
        while True:
            try:
                accepted, _ = self._ear.accept()
            except OSError:
                return
            with Connection(accepted, 5) as connection:
                head = connection.take_until(b"\r\n\r\n")
                if head is None:
                    continue
                self.requests.append(head)
                answer = self._answer()
                if answer is not None:
                    connection.send(answer)


_CLIENTS = 5
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nginx, Upstream]]:
    """Return an nginx before one program that answers, and one that is not there."""
    upstream = Upstream(lambda: OK)
    [port, unused] = free_ports(2)
    with nginx(tmp_path_factory.mktemp("nginx"), [upstream.port, unused], port) as running:
        yield running, upstream
    upstream.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Return an nginx behind which nobody is."""
    port, *unused = free_ports(3)
    with nginx(tmp_path_factory.mktemp("alone"), unused, port) as running:
        yield running


# --- updates ---------------------------------------------------------------------------


class Client(threading.Thread):
    """Reads the list, opens a request and approves it, again and again."""

    def __init__(self, front: Nginx, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._front, self._headers = front, headers
        self.ending = threading.Event()
        self.rounds = 0
        self.unexpected: list[tuple[str, int, bytes]] = []

    def run(self) -> None:
        # A pause, so that the servers have processors to start with.
        while not self.ending.wait(0.1):
            self._expect(200, "GET", "/api/aura/hitl/requests?status=pending")
            body = {"sessionId": f"session_{self.name}_{self.rounds}", "actionType": "delete_mail"}
            opened = self._expect(201, "POST", "/api/aura/hitl/requests", body)
            if opened is not None:
                path = f"/api/aura/hitl/approve/{opened['data']['requestId']}"
                self._expect(200, "POST", path, {})
            self.rounds += 1

    def _expect(self, status: int, method: str, path: str, body: object = b"") -> Any:
        answer = self._front.request(method, path, self._headers, body)
        if answer.status == status and answer.is_complete:
            return answer.json()
        self.unexpected.append((f"{method} {path}", answer.status, answer.body))
        return None


class Watcher(threading.Thread):
    """Follows one session to its end, and comes back as often as the connection is cut."""

    def __init__(self, front: Nginx, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._front, self._headers = front, headers
        self.frames: list[Frame] = []
        self.asked = threading.Event()
        self.cuts = 0
        self.refused: list[Head] = []

    def run(self) -> None:
        while True:
            ids = [frame.id for frame in self.frames if frame.id is not None]
            headers = self._headers | ({"Last-Event-ID": str(ids[-1])} if ids else {})
            prompt = {"prompt": "delete 3 mails"}
            with self._front.connect() as connection:
                connection.send(request_bytes("POST", START_PATH, headers, prompt))
                stream = Stream(connection)
                if stream.head.status != 200:
                    self.refused.append(stream.head)
                    return
                for frame in stream.events():
                    self.frames += [frame] if frame.id is not None or frame.is_done else []
                    if frame.event == "hitl":
                        self.asked.set()
            if stream.ended == "clean":
                return
            self.cuts += 1


@pytest.mark.slow
def test_rolling_restart_loses_no_request_and_no_event(own_server: Maker, tmp_path: Path) -> None:
    port, *ports = free_ports(3)
    with ExitStack() as stack:
        front = stack.enter_context(nginx(tmp_path / "nginx", ports, port))
        one = own_server(ports=ports[:1])
        two = own_server(data_dir=one.data_dir, ports=ports[1:])
        two._output = tmp_path / "two.log"
        with ThreadPoolExecutor() as starting:
            list(starting.map(RunningServer.start, (one, two)))
        watcher = Watcher(front, one.headers())
        watcher.start()
        assert watcher.asked.wait(30)
        clients = [Client(front, one.headers()) for _ in range(_CLIENTS)]
        for client in clients:
            client.start()
        # As deploy.md says: one after the other, each ready before the next.
        for server in (one, two):
            assert server.stop() == 0
            server.start()
            assert server.get("/ready").status == 200
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join(30)
        asked = next(frame for frame in watcher.frames if frame.event == "hitl").json()
        path = f"/api/aura/hitl/approve/{asked['requestId']}"
        assert front.request("POST", path, one.headers(), {}).status == 200
        watcher.join(60)

    assert [client.unexpected for client in clients] == [[]] * _CLIENTS, front.errors
    assert all(client.rounds > 5 for client in clients)
    assert not watcher.is_alive()
    assert not watcher.refused
    assert watcher.cuts >= 1
    *events, done = watcher.frames
    first = events[0].id or 0
    assert done.is_done
    assert [event.id for event in events] == list(range(first, first + len(events)))


def test_post_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    silent = [Upstream(lambda: None), Upstream(lambda: None)]
    port = free_ports(1)[0]
    with nginx(tmp_path / "nginx", [one.port for one in silent], port) as front:
        answer = front.request("POST", "/api/aura/hitl/approve/req_1", {}, {})
        posted = sum(len(one.requests) for one in silent)
        front.request("GET", "/api/aura/hitl/requests/req_1")
    for one in silent:
        one.close()

    assert (answer.status, answer.json()["errorCode"]) == (503, "E5003")
    assert posted == 1
    # What only reads is tried at the other.
    assert sum(len(one.requests) for one in silent) == 3


def test_process_that_is_away_costs_nobody_an_answer(answering: tuple[Nginx, Upstream]) -> None:
    front, _ = answering
    posts = [front.request("POST", "/api/aura/hitl/approve/req_1", {}, {}) for _ in range(20)]
    assert {post.status for post in posts} == {200}


# --- what reaches a process ------------------------------------------------------------


def test_client_cannot_say_where_it_comes_from(answering: tuple[Nginx, Upstream]) -> None:
    front, upstream = answering
    names = (
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"),
        *("X-Forwarded-Prefix", "X-Forwarded-Server", "Forwarded", "X-Real-IP", "X-Client-IP"),
        *("True-Client-IP", "Daphne-Root-Path", "Proxy", "X_Forwarded_For"),
    )
    said = dict.fromkeys(names, "203.0.113.9")
    assert front.request("GET", "/api/health", said | {"X-Trace-Id": "kept"}).status == 200

    arrived = upstream.requests[-1].decode()
    assert "203.0.113.9" not in arrived
    assert "X-Forwarded-For: 127.0.0.1\r\n" in arrived
    assert "X-Forwarded-Proto: http\r\n" in arrived
    assert "X-Trace-Id: kept\r\n" in arrived


def test_only_a_load_balancer_that_is_named_says_that_clients_use_tls(tmp_path: Path) -> None:
    upstream = Upstream(lambda: OK)
    port, unused = free_ports(2)
    for behind, expected in ((False, "http"), (True, "https")):
        folder = tmp_path / expected
        with nginx(folder, [upstream.port, unused], port, behind_balancer=behind) as front:
            assert front.request("GET", "/", {"X-Forwarded-Proto": "https"}).status == 200
            assert front.request("GET", "/", {"X-Forwarded-Proto": "evil"}).status == 200
        said = [re.findall(rb"X-Forwarded-Proto: (\w+)\r", one) for one in upstream.requests[-2:]]
        assert said == [[expected.encode()], [b"http"]]
    upstream.close()


def test_prompt_in_the_query_may_be_as_long_as_a_body(answering: tuple[Nginx, Upstream]) -> None:
    front, upstream = answering
    prompt = "x" * 250_000
    assert front.request("GET", f"{START_PATH}?message={prompt}").status == 200
    assert prompt.encode() in upstream.requests[-1]


# --- its own errors --------------------------------------------------------------------


def check_envelope(answer: Response, status: int, code: str) -> None:
    """Fail unless this is the envelope of wire.md, 2."""
    body = answer.json()
    assert (answer.status, body["errorCode"]) == (status, code)
    assert answer.head["Content-Type"] == "application/json"
    assert set(body) - {"traceId", "gatewayRequestId"} == {
        *("status", "message", "errorCode", "success", "timestamp")
    }
    assert (body["status"], body["success"]) == ("ERROR", False)
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is None


def test_services_that_are_away_are_the_envelope(alone: Nginx) -> None:
    answer = alone.request("POST", "/api/aura/hitl/approve/req_1", {}, {})
    check_envelope(answer, 503, "E5003")
    assert answer.head["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request_bytes("POST", "/api/x", {"Content-Length": "1048577"}), 413, "E4130"),
        (b"GET /api/x?" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 413, "E4130"),
        (request_bytes("GET", "/api/x", {"X-Long": "x" * 300_000}), 413, "E4130"),
        (b"GET /api/x HTTP/1.1\r\n\r\n", 400, "E1001"),
        (b"no HTTP at all\r\n\r\n", 400, "E1001"),
        (b"GET /api/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "E1001"),
        (request_bytes("TRACE", "/api/x", {"Connection": "close"}), 405, "E1002"),
        (request_bytes("GET", "/nginx-error/503", {"Connection": "close"}), 404, "E1004"),
    ],
    ids=["body", "query", "header", "no-host", "no-http", "path", "trace", "inner"],
)
def test_what_nginx_refuses_is_the_envelope(
    answering: tuple[Nginx, Upstream], sent: bytes, status: int, code: str
) -> None:
    front, _ = answering
    check_envelope(front.send(sent), status, code)


def test_errors_are_in_the_callers_language_and_name_the_request(alone: Nginx) -> None:
    headers = {
        "Accept-Language": "ko-KR,ko;q=0.9",
        "X-Trace-Id": "trace-1",
        "X-Gateway-Request-Id": 'a","b":"c',
    }
    body = alone.request("GET", "/api/x", headers).json()
    assert body["message"].startswith("서비스를 사용할 수 없습니다.")
    assert body["traceId"] == "trace-1"
    assert "gatewayRequestId" not in body


def test_front_ends_may_read_errors(alone: Nginx) -> None:
    ours = alone.request("GET", "/api/x", {"Origin": "https://app.example.com"})
    assert ours.head["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert ours.head["Access-Control-Allow-Credentials"] == "true"
    foreign = alone.request("GET", "/api/x", {"Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in foreign.head
    assert "Access-Control-Allow-Credentials" not in foreign.head


def check_page(answer: Response, status: int, text: str) -> None:
    """Fail unless this is a page for people that says `text`, and when to come back."""
    assert answer.status == status
    assert answer.head["Content-Type"] == "text/html; charset=utf-8"
    assert int(answer.head["Retry-After"]) > 0
    assert text in answer.body.decode()


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/?next=/admin/"])
def test_people_get_a_page(alone: Nginx, path: str) -> None:
    for method in ("GET", "POST"):
        check_page(alone.request(method, path), 503, "The service is away.")
    korean = alone.request("GET", path, {"Accept-Language": "ko"})
    check_page(korean, 503, "서비스를 사용할 수 없습니다.")


@pytest.mark.parametrize(
    "path",
    ["/api/auth/login", "/auth/login", "/api/admin/login/", "/admin/login/", "/api/auth/%6Cogin"],
)
def test_logins_of_one_address_are_limited(tmp_path: Path, path: str) -> None:
    upstream = Upstream(lambda: OK)
    port, unused = free_ports(2)
    with nginx(tmp_path / "nginx", [upstream.port, unused], port) as front:
        languages = [{"Accept-Language": language} for language in ("en", "ko") * 20]
        answers = [front.request("POST", path, language, {}) for language in languages]
        read = front.request("GET", path)
        other = front.request("POST", "/api/aura/hitl/requests", {}, {})
    upstream.close()

    refused = [answer for answer in answers if answer.status != 200]
    assert 20 < len(answers) - len(refused) < 40
    for answer in refused:
        if path == "/admin/login/":
            check_page(answer, 429, "429")
        else:
            check_envelope(answer, 429, "E4290")
            assert int(answer.head["Retry-After"]) > 0
    texts = "".join(answer.body.decode() for answer in refused)
    assert "Too many attempts." in texts
    assert "시도가 너무 많습니다." in texts
    assert (read.status, other.status) == (200, 200)


def test_every_connection_of_a_worker_may_have_a_descriptor() -> None:
    text = NGINX_CONF.read_text(encoding="utf-8")
    [connections] = re.findall(r"^ *worker_connections (\d+);", text, re.M)
    [descriptors] = re.findall(r"^worker_rlimit_nofile (\d+);", text, re.M)
    assert int(descriptors) >= int(connections)


# --- TLS -------------------------------------------------------------------------------


def test_tls_is_a_matter_of_comment_signs(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "dwp.example.com")
    upstream = Upstream(lambda: OK)
    port, tls_port, unused = free_ports(3)
    with nginx(
        tmp_path / "nginx",
        [upstream.port, unused],
        port,
        tls=(tls_port, certificate.chain, certificate.key),
    ) as front:
        context = ssl.create_default_context(cafile=str(certificate.authority))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", tls_port), 10)
        with context.wrap_socket(plain, server_hostname="dwp.example.com") as h2:
            protocol = h2.selected_alpn_protocol()
        context.set_alpn_protocols(["http/1.1"])
        plain = socket.create_connection(("127.0.0.1", tls_port), 10)
        wrapped = context.wrap_socket(plain, server_hostname="dwp.example.com")
        with Connection(wrapped) as connection:
            connection.send(request_bytes("GET", "/api/health", {"Connection": "close"}))
            answer = Response.parse(connection.receive_all())
        with Connection(socket.create_connection(("127.0.0.1", tls_port), 10)) as unencrypted:
            unencrypted.send(request_bytes("GET", "/api/health", {}))
            refusal = Response.parse(unencrypted.receive_all())
        assert front.request("GET", "/api/health").status == 200
    upstream.close()

    assert protocol == "h2"
    assert answer.status == 200
    assert b"X-Forwarded-Proto: https\r\n" in upstream.requests[0]
    check_envelope(refusal, 400, "E1001")
