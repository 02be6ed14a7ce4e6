"""Everything real in a run: PostgreSQL, Redis, the servers and the links between them."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import jwt
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dwp_project.embedded_redis.binary import find_binary
from tests.chaos import wire
from tests.chaos.links import Links
from tests.chaos.postgres import Postgres
from tests.chaos.processes import CHECKOUT, Process, free_ports, inherited

_START_SECONDS = 90.0
_SECRET = "a-secret-that-only-this-run-knows-0123456789"
# One for all servers, each of which has a DATA_DIR of its own.
_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()
_TOKEN_SECONDS = 6 * 3600


class Cluster:
    """`servers` processes of `manage.py serve` around one database and one Redis."""

    def __init__(self, servers: int, *, question_seconds: int, notifications: bool) -> None:
        # /tmp even where TMPDIR is long: a Unix socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="dwp-chaos-", dir="/tmp"))
        database, redis, front, *ports = free_ports(3 + 2 * servers)
        self.server_ports, links = ports[:servers], ports[servers:]
        self.redis_port = redis
        self.postgres = Postgres(self.folder / "postgres", database)
        self.links = Links(front, self.server_ports, redis, links)
        self.redis = Process(self._redis_command(notifications), inherited(), self._log("redis"))
        shared = inherited() | {
            "DATABASE_URL": self.postgres.url,
            "JWT_SECRET": _SECRET,
            "DJANGO_SECRET_KEY": _SECRET,
            "AUDIT_SIGNING_KEY": _SIGNING_KEY,
            "HITL_DEFAULT_TIMEOUT_SECONDS": str(question_seconds),
            "DWP_AGENT_OPTIONS": json.dumps({"chunk_delay": 0.05, "step_delay": 0.05}),
            "LOG_LEVEL": "WARNING",
            "LOG_FORMAT": "json",
        }
        self.servers = [
            Process(
                [sys.executable, "manage.py", "serve"],
                shared
                | {
                    "DATA_DIR": str(self.folder / f"data-{number}"),
                    "PORTS": str(self.server_ports[number]),
                    "REDIS_URL": f"redis://127.0.0.1:{links[number]}/0",
                },
                self._log(f"server-{number}"),
            )
            for number in range(servers)
        ]
        self._command_env = shared | {
            "DATA_DIR": str(self.folder / "data-command"),
            "REDIS_URL": f"redis://127.0.0.1:{redis}/0",
        }
        self._tokens: dict[tuple[str, str, str], dict[str, str]] = {}

    async def start(self) -> None:
        """Start everything; return when every server answers."""
        await self.postgres.start()
        await self.start_redis()
        await self.links.start(self._log("proxy"))
        # The first one makes the tables.
        await self.start_server(0)
        await asyncio.gather(*(self.start_server(n) for n in range(1, len(self.servers))))

    async def stop(self) -> None:
        """End every process that this started, and remove the folder."""
        for process in (*self.servers, self.redis):
            process.kill()
        await self.links.stop()
        self.postgres.end()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start_server(self, number: int) -> None:
        """Start one server; return when it answers."""
        self.servers[number].start()
        deadline = time.monotonic() + _START_SECONDS
        while not await self._is_healthy(number):
            if not self.servers[number].is_running:
                # Without its database it gives up, and whoever runs it starts it again.
                await asyncio.sleep(0.5)
                self.servers[number].start()
            if time.monotonic() > deadline:
                raise RuntimeError(f"server {number} was not ready in time: see {self.folder}")
            await asyncio.sleep(0.1)

    async def drain_server(self, number: int) -> float:
        """Send SIGTERM; return the seconds the server took to end (killed after 30)."""
        began = time.monotonic()
        self.servers[number].send(signal.SIGTERM)
        await self.servers[number].ended(30.0)
        self.servers[number].kill()
        return time.monotonic() - began

    async def start_redis(self) -> None:
        """Start Redis with an empty memory; return when it answers."""
        self.redis.start()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            async with Redis(port=self.redis_port, retry=Retry(NoBackoff(), 0)) as client:
                try:
                    await client.ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)
        raise RuntimeError("Redis was not ready in time")

    async def verify_audit(self) -> tuple[bool, str]:
        """Run `manage.py verify_audit`; return whether every chain holds, and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "verify_audit",
            cwd=CHECKOUT,
            env=self._command_env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        # 3: every chain holds, but this command has another DATA_DIR than the servers, and so
        # neither their keys nor their checkpoint files.
        return process.returncode in (0, 3), output.decode().strip()

    def headers(self, user: str, tenant: str, role: str = "user") -> dict[str, str]:
        """Return the headers of a request by this person, with a token as any issuer mints it."""
        who = (user, tenant, role)
        if who not in self._tokens:
            now = int(time.time())
            claims = {"sub": user, "tenant_id": tenant, "role": role}
            token = jwt.encode(claims | {"iat": now, "exp": now + _TOKEN_SECONDS}, _SECRET)
            self._tokens[who] = {"Authorization": f"Bearer {token}", "X-Tenant-ID": tenant}
        return self._tokens[who]

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _redis_command(self, notifications: bool) -> list[str]:
        events = "KEA" if notifications else ""
        options = {
            "port": str(self.redis_port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
        }
        options |= {"notify-keyspace-events": events, "dir": str(self.folder)}
        pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(find_binary()), *pairs]

    async def _is_healthy(self, number: int) -> bool:
        try:
            port = self.server_ports[number]
            return (await wire.exchange(port, "GET", "/health", {}, timeout=2)).status == 200
        except wire.ConnectionBroken:
            return False
