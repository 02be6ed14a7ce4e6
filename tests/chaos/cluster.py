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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import psycopg
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
SECRET = "a-secret-that-only-this-run-knows-0123456789"
# One for all servers, each of which has a DATA_DIR of its own.
_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()
_TOKEN_SECONDS = 6 * 3600
# Has what writes a signal's entry wait where it commits, for as long as the lock of its server is
# taken.
_HOLD_COMMITS = """
CREATE FUNCTION hold_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext(current_setting('application_name')));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT ON hitl_outboxentry
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold_commit();
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where one deployment keeps its data: its database, and its number in Redis."""

    url: str
    redis_number: int

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)


class Cluster:
    """`servers` processes of `manage.py serve` around one database and one Redis.

    With `other_number`, one more process is a second deployment: it has another database in the
    same PostgreSQL, and that number in the same Redis. It is the last of `servers`; no fault is its
    own, and it is not among those that clients reach through `links`.
    """

    def __init__(
        self,
        servers: int,
        *,
        question_seconds: int,
        notifications: bool,
        other_number: int | None = None,
    ) -> None:
        # /tmp even where TMPDIR is long: a Unix socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="dwp-chaos-", dir="/tmp"))
        database, redis, front, other, *ports = free_ports(4 + 2 * servers)
        self.server_ports, links = ports[:servers], ports[servers:]
        self.redis_port = redis
        self.postgres = Postgres(self.folder / "postgres", database)
        self.links = Links(front, self.server_ports, redis, links)
        self.redis = Process(self._redis_command(notifications), inherited(), self._log("redis"))
        shared = inherited() | {
            "DATABASE_URL": self.postgres.url,
            "JWT_SECRET": SECRET,
            "DJANGO_SECRET_KEY": SECRET,
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
                    "DATABASE_URL": f"{self.postgres.url}?application_name=server-{number}",
                    "PORTS": str(self.server_ports[number]),
                    "REDIS_URL": f"redis://127.0.0.1:{links[number]}/0",
                },
                self._log(f"server-{number}"),
            )
            for number in range(servers)
        ]
        self.deployments = [Deployment(self.postgres.url, 0)]
        if other_number is not None:
            self.deployments.append(Deployment(self.postgres.url_of("other"), other_number))
            env = shared | self._data_env(self.deployments[1], "data-other") | {"PORTS": str(other)}
            command = [sys.executable, "manage.py", "serve"]
            self.servers.append(Process(command, env, self._log("server-other")))
            self.server_ports = [*self.server_ports, other]
        self._command_env = shared
        self._tokens: dict[tuple[str, str, str], dict[str, str]] = {}

    async def start(self) -> None:
        """Start everything; return when every server answers."""
        await self.postgres.start()
        await self.start_redis()
        await self.links.start(self._log("proxy"))
        # The first one of each deployment makes the tables.
        firsts = [0]
        if len(self.deployments) > 1:
            with self.postgres.connect() as connection:
                connection.execute("CREATE DATABASE other")
            firsts.append(len(self.servers) - 1)
        await asyncio.gather(*map(self.start_server, firsts))
        with self.postgres.connect() as connection:
            connection.execute(_HOLD_COMMITS)
        following = [n for n in range(len(self.servers)) if n not in firsts]
        await asyncio.gather(*map(self.start_server, following))

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

    @asynccontextmanager
    async def commits_held(self, number: int) -> AsyncIterator[None]:
        """Hold the decisions of one server where they commit."""
        connection = await asyncio.to_thread(self.postgres.connect)
        try:
            lock = "SELECT pg_advisory_lock(hashtext(%s))"
            await asyncio.to_thread(connection.execute, lock, [f"server-{number}"])
            yield
        finally:
            connection.close()

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

    async def verify_audit(self, deployment: Deployment) -> tuple[bool, str]:
        """Run `manage.py verify_audit`; return whether every chain holds, and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "verify_audit",
            cwd=CHECKOUT,
            env=self._command_env | self._data_env(deployment, "data-command"),
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
            token = jwt.encode(claims | {"iat": now, "exp": now + _TOKEN_SECONDS}, SECRET)
            self._tokens[who] = {"Authorization": f"Bearer {token}", "X-Tenant-ID": tenant}
        return self._tokens[who]

    def _data_env(self, deployment: Deployment, folder: str) -> dict[str, str]:
        return {
            "DATA_DIR": str(self.folder / folder),
            "DATABASE_URL": deployment.url,
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/{deployment.redis_number}",
        }

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
