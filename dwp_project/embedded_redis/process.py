"""Starts, checks and ends one redis-server on one Unix socket."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from dwp_project.embedded_redis.binary import find_binary
from dwp_project.embedded_redis.errors import RedisNotStarted

logger = structlog.get_logger(__name__)

# Chosen: time to load a large append-only file, and short enough to wait at a terminal.
START_SECONDS = 30.0
# A process ends within 10 s, most of them for other steps (docs/explanation/delivery.md); the
# append-only file is complete even without an orderly end.
END_SECONDS = 1.0
# How much of its log an error message quotes. Chosen: Redis says why it ends in its last lines.
_LOG_TAIL_LINES = 15
_NOBODY_LISTENS = (ConnectionRefusedError, FileNotFoundError)


class RedisProcess:
    """A redis-server with its files in `directory` that listens on `socket` only.

    It is started in a process session of its own, so that Ctrl-C in the terminal reaches only this
    program, which drains its clients before it ends Redis.
    """

    def __init__(self, socket: Path, directory: Path) -> None:
        self.socket = socket
        self.directory = directory
        self._log = directory / "redis.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a redis-server and return when it answers; raise `RedisNotStarted`.

        If Redis reports that its append-only file is damaged, the folder is renamed, and Redis
        starts empty: everything that counts is in the database.
        """
        binary = find_binary()
        try:
            self._start(binary)
        except RedisNotStarted as exc:
            if "redis-check-aof" not in str(exc):
                raise
            aside = self.directory.with_name(f"{self.directory.name}.damaged-{time.time_ns()}")
            logger.warning("embedded_redis_file_damaged", kept_in=str(aside), starts="empty")
            self.directory.rename(aside)
            self._start(binary)

    def answers(self) -> bool:
        """Say whether PING is answered with PONG, which it is not while Redis loads its file."""
        with self.client() as client, suppress(redis.RedisError, OSError):
            return bool(client.ping())
        return False

    def is_gone(self) -> bool:
        """Say whether nobody listens on the socket: missing or refusing, not only slow."""
        if self._child is not None and self._child.poll() is not None:
            return True
        with self.client() as client:
            try:
                client.ping()
            except redis.TimeoutError:
                return False
            except redis.ConnectionError as exc:
                return isinstance(exc.__context__ or exc.__cause__, _NOBODY_LISTENS)
            except redis.RedisError:
                return False
        return False

    def stop(self) -> None:
        """Shut Redis down properly, whichever process started it; return when it is gone."""
        with self.client() as client, suppress(redis.RedisError, OSError):
            client.shutdown()
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and not self.is_gone():
            time.sleep(0.02)
        if self._child is not None:
            self._end_child()

    def client(self) -> redis.Redis:
        """Return a client that tries once and gives up after a second."""
        return redis.Redis(
            unix_socket_path=str(self.socket),
            socket_timeout=1,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )

    def _start(self, binary: Path) -> None:
        if self._child is not None:
            self._end_child()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            # Keep the log of the Redis before: it may say why it died.
            self._log.replace(self._log.with_suffix(".log.1"))
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as log:
            self._child = subprocess.Popen(
                [binary, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        self._wait_until_it_answers(self._child)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            # A file that a power failure cut off is loaded up to its last complete command.
            "aof-load-truncated": "yes",
            # No snapshots: the append-only file is enough.
            "save": "",
            # For the scanner, which learns at once what agents write (docs/reference/wire.md, 5.3).
            "notify-keyspace-events": "K$",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise RedisNotStarted(
                    f"The embedded Redis ended at once (exit code {child.returncode}). "
                    f"{self._log} ends:\n{self._log_tail()}"
                )
            # A PING before the socket exists would only take time.
            if self.socket.exists() and self.answers():
                return
            time.sleep(0.02)
        self._end_child()
        raise RedisNotStarted(
            f"The embedded Redis did not answer on {self.socket} within {START_SECONDS:.0f} s. "
            f"{self._log} ends:\n{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])
        return "  (no log)"

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for ending in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                child.send_signal(ending)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(END_SECONDS)
        child.wait()
