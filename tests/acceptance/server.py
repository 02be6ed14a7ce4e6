"""A real `manage.py serve`, seen from outside: a process, ports, a folder, a Redis socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jwt
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dwp_project.datadir import redis_socket
from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.wire import Connection, Response, Stream, request_bytes

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
STOP_SECONDS = 30.0
# All that a server inherits from the shell that runs the tests.
_INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")


@contextmanager
def running_redis(socket: Path, folder: Path) -> Iterator[RedisProcess]:
    """Run a Redis that is no server's own until the block ends."""
    process = RedisProcess(socket, folder)
    process.start()
    try:
        yield process
    finally:
        process.stop()


class RunningServer:
    """One `serve` on free ports with a DATA_DIR of its own and nothing else configured.

    May be started again after it ended, with the same DATA_DIR and ports.
    """

    def __init__(
        self, data_dir: Path, *, ports: list[int] | None = None, env: Mapping[str, str] = {}
    ) -> None:
        self.data_dir = data_dir
        self.ports = ports or free_ports(2)
        self.env = dict(env)
        self.command = [sys.executable, "manage.py", "serve"]
        # By how much the wall clock of its host is ahead, as `tests.acceptance.shifted` sets it.
        self.seconds_ahead = 0.0
        self._output = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    # --- the process -------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def output(self) -> str:
        """What the last start has written so far, both streams."""
        return self.output_in("utf-8")

    def output_in(self, charset: str) -> str:
        """What it has written, as a terminal of this charset shows it."""
        return self._output.read_text(encoding=charset, errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the process, and of a command that works on the same data."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"DATA_DIR": str(self.data_dir), "PORTS": ",".join(map(str, self.ports))}
        return inherited | own | self.env

    def launch(self) -> None:
        """Start the process and return at once."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> RunningServer:
        """Start the process and return when it answers /health and has said so."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not (self._is_healthy() and "Ctrl-C ends everything" in self.output):
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.output}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"serve was not ready in time:\n{self.output}")
            time.sleep(0.05)
        return self

    def wait(self) -> int:
        """Wait until the process has ended by itself; return its exit code."""
        return self.process.wait(START_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"serve did not end on signal {number}:\n{self.output}") from None

    def kill(self) -> None:
        """End the process as a power failure would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End process and Redis whatever state they are in; for clean-up after a failed test."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if self.has_redis():
            self.redis().shutdown(nosave=True)

    def _is_healthy(self) -> bool:
        try:
            return self.get("/health").status == 200
        except OSError:
            return False

    # --- what it serves ----------------------------------------------------------------

    def connect(self, port: int | None = None) -> Connection:
        """Open a connection to `port`, by default the first."""
        return Connection(socket.create_connection(("127.0.0.1", port or self.ports[0]), 10))

    def exchange(self, data: bytes, port: int | None = None) -> bytes:
        """Send bytes and return every byte that comes until the server closes."""
        with self.connect(port) as connection:
            connection.send(data)
            return connection.receive_all()

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = {},
        body: bytes | object = b"",
        *,
        port: int | None = None,
    ) -> Response:
        """Send one request and return the whole answer. A body that is not bytes goes as JSON."""
        data = request_bytes(method, path, {"Connection": "close"} | dict(headers), body)
        return Response.parse(self.exchange(data, port))

    def get(
        self, path: str, headers: Mapping[str, str] = {}, *, port: int | None = None
    ) -> Response:
        return self.request("GET", path, headers, port=port)

    def stream(
        self,
        path: str,
        headers: Mapping[str, str] = {},
        body: bytes | object = b"",
        *,
        method: str = "GET",
        port: int | None = None,
    ) -> Stream:
        """Send a request and return the stream that answers it, its headers read."""
        connection = self.connect(port)
        connection.send(request_bytes(method, path, headers, body))
        return Stream(connection)

    # --- what it keeps -----------------------------------------------------------------

    def redis(self) -> redis.Redis:
        """Return a client of the embedded Redis; answers are text."""
        return redis.Redis(
            unix_socket_path=str(redis_socket(self.data_dir)),
            decode_responses=True,
            # By default it takes more than four seconds to find that nobody listens.
            retry=Retry(NoBackoff(), 0),
        )

    def has_redis(self) -> bool:
        """Return whether anything answers on the embedded Redis's socket."""
        try:
            return bool(self.redis().ping())
        except redis.ConnectionError:
            return False

    def token(
        self,
        user_id: str = "user123",
        tenant_id: str = "tenant1",
        role: str | None = "user",
        lifetime_seconds: int = 3600,
        **claims: object,
    ) -> str:
        """Mint a token as another issuer with the same secret would: no code of ours. Tokens go
        by the host's clock, and so does this issuer."""
        now = int(time.time() + self.seconds_ahead)
        payload = {
            "sub": user_id,
            "tenant_id": tenant_id,
            "iat": now,
            "exp": now + lifetime_seconds,
        }
        payload |= {"role": role} if role else {}
        return jwt.encode(payload | claims, self._jwt_secret, algorithm="HS256")

    def headers(
        self, user_id: str = "user123", tenant_id: str = "tenant1", role: str | None = "user"
    ) -> dict[str, str]:
        """Return the headers of a request by this person."""
        token = self.token(user_id, tenant_id, role)
        return {"Authorization": f"Bearer {token}", "X-Tenant-ID": tenant_id}

    @property
    def _jwt_secret(self) -> str:
        generated = self.data_dir / "jwt_secret"
        return self.env.get("JWT_SECRET") or generated.read_text(encoding="ascii").strip()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
