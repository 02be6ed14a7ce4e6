"""What is measured: one server on PostgreSQL and Redis, the plain application beside it, and what
the kernel and the database count of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import jwt
import psycopg

from dwp_project.embedded_redis.binary import find_binary
from tests.chaos import wire
from tests.chaos.postgres import Postgres
from tests.chaos.processes import Process, free_ports, inherited

TENANT = "tenant1"
_SECRET = "a-secret-that-only-this-run-knows-0123456789"
_START_SECONDS = 90.0
_TICKS = os.sysconf("SC_CLK_TCK")
_TRANSACTIONS = """
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""


class Bench:
    """Everything that one run starts; `port` is the server's, `plain_port` the other's.

    With `profile`, the server's profile of a part of the run is written there.
    """

    def __init__(self, profile: Path | None = None) -> None:
        self._profile = profile
        # /tmp even where TMPDIR is long: a Unix socket's path may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="dwp-bench-", dir="/tmp"))
        database, self.redis_port, self.port, self.plain_port = free_ports(4)
        self.postgres = Postgres(self._folder / "postgres", database)
        shared = inherited() | {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "JWT_SECRET": _SECRET,
            "DJANGO_SECRET_KEY": _SECRET,
            "AUDIT_SIGNING_KEY": base64.b64encode(b"k" * 32).decode(),
            "HITL_DEFAULT_TIMEOUT_SECONDS": "3600",
            "DWP_AGENT_OPTIONS": json.dumps({"chunk_delay": 0, "step_delay": 0}),
            "DATA_DIR": str(self._folder / "data"),
            "PORTS": str(self.port),
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "json",
        }
        redis = [str(find_binary()), "--port", str(self.redis_port), "--bind", "127.0.0.1"]
        redis += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        daphne = [sys.executable, "-m", "daphne", "-p", str(self.plain_port), "-v", "0"]
        self._redis = Process(redis, inherited(), self._folder / "redis.log")
        serve = ["manage.py", "serve"]
        if profile is not None:
            serve = ["-m", "tests.bench.profiled", str(profile)]
        self._server = Process([sys.executable, *serve], shared, self._folder / "server.log")
        self._plain = Process(
            [*daphne, "tests.bench.plain:application"], shared, self._folder / "plain.log"
        )
        self.asker = _headers("user123", "user")
        self.approver = _headers("approver1", "approver")

    async def start(self) -> None:
        await self.postgres.start()
        for process in (self._redis, self._server, self._plain):
            process.start()
        for port, path in ((self.port, "/health"), (self.plain_port, "/")):
            await self._until_it_answers(port, path)

    def stop(self) -> None:
        """End what was started, and remove its folder."""
        for process in (self._plain, self._server, self._redis):
            process.kill()
        self.postgres.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: object = None,
        *,
        port: int | None = None,
    ) -> wire.Answer:
        """Send one request; raises `RuntimeError` for an answer that is no success."""
        answer = await wire.exchange(port or self.port, method, path, headers, body, timeout=70.0)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer

    async def open(self, *, port: int | None = None) -> str:
        """Open a request in a session of its own and return its id."""
        session_id = f"bench-{uuid.uuid4().hex}"
        body = {"sessionId": session_id, "actionType": "pay_invoice", "context": {"amount": 100}}
        answer = await self.call("POST", "/aura/hitl/requests", self.asker, body, port=port)
        return str(answer.member("requestId"))

    async def approve(self, request_id: str, *, port: int | None = None) -> None:
        path = f"/aura/hitl/approve/{quote(request_id)}"
        await self.call("POST", path, self.approver, port=port)

    def processor_seconds(self) -> float:
        """Return the processor time that the server's process has taken so far."""
        stat = Path(f"/proc/{self._server.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def transactions(self) -> int:
        """Return how many transactions the database has ended, this one not among them."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            row = connection.execute(_TRANSACTIONS).fetchone()
        assert row is not None
        return int(row[0])

    @asynccontextmanager
    async def profiling(self) -> AsyncIterator[None]:
        """Have the server write the profile of what it does while the block runs."""
        assert self._profile is not None
        self._profile.unlink(missing_ok=True)
        os.kill(self._server.pid, signal.SIGUSR1)
        yield
        os.kill(self._server.pid, signal.SIGUSR1)
        for _ in range(300):
            if self._profile.exists():
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("the server has written no profile")

    async def idle(self, seconds: float) -> tuple[float, float]:
        """Do nothing; return the share of a core that the server takes, and how many transactions
        a second there are."""
        began_at, processor = time.monotonic(), self.processor_seconds()
        transactions = await asyncio.to_thread(self.transactions)
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began_at
        ended = await asyncio.to_thread(self.transactions) - transactions
        return (self.processor_seconds() - processor) / passed, ended / passed

    async def _until_it_answers(self, port: int, path: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                await wire.exchange(port, "GET", path, {}, timeout=2)
                return
            except wire.ConnectionBroken:
                await asyncio.sleep(0.1)
        logs = [log.read_text(errors="replace")[-500:] for log in self._folder.glob("*.log")]
        raise RuntimeError("not everything has started in time: " + "\n".join(logs))


def _headers(user: str, role: str) -> dict[str, str]:
    now = int(time.time())
    claims = {"sub": user, "tenant_id": TENANT, "role": role, "iat": now, "exp": now + 6 * 3600}
    token = jwt.encode(claims, _SECRET)
    return {"Authorization": f"Bearer {token}", "X-Tenant-ID": TENANT}


async def milliseconds(step: Callable[[], Awaitable[object]]) -> float:
    began_at = time.perf_counter()
    await step()
    return (time.perf_counter() - began_at) * 1000


async def rate(steps: list[Callable[[], Awaitable[object]]], callers: int) -> float:
    """Take all steps, so many at once; return how many were taken in a second."""
    waiting = iter(steps)

    async def caller() -> None:
        for step in waiting:
            await step()

    began_at = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return len(steps) / (time.perf_counter() - began_at)
