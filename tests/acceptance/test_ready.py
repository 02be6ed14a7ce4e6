"""`/ready` of a real server whose database fails in every way (docs/reference/wire.md, 2.1)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import POSTGRES_PASSWORD
from tests.acceptance.server import RunningServer
from tests.chaos.postgres import Postgres

Maker = Callable[..., RunningServer]
READY = (200, {"status": "ready"})


def readiness(server: RunningServer) -> tuple[int, Any]:
    answer = server.get("/ready")
    return answer.status, answer.json()


def wait_until_it_says(server: RunningServer, status: int, name: str | None = None) -> Any:
    """Ask until the answer has this status and names this; return it."""
    deadline = time.monotonic() + 30
    while True:
        said, body = readiness(server)
        if said == status and (name is None or body.get("down") == [name]):
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.2)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Make `folder` a file system of its own with so much room."""
    options = f"size={megabytes}m,mode=711"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def no_room(folder: Path) -> Iterator[None]:
    """Fill the file system of `folder`."""
    filling = folder / "filling"
    try:
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while file.write(bytes(65536)) == 65536:
                pass
        yield
    finally:
        filling.unlink()


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Have PostgreSQL and all its processes stand still."""
    master = (postgres.folder / "postmaster.pid").read_text(encoding="ascii").split()[0]
    children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split()
    processes = [int(pid) for pid in (master, *children)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture
def postgres_folder(postgres_folder: Path) -> Iterator[Path]:
    """Return a folder in which a PostgreSQL has room, and little more."""
    with small_disk(postgres_folder, 192):
        yield postgres_folder


@pytest.mark.slow
def test_ready_says_what_postgresql_does_not_do(
    own_server: Maker, postgres: Postgres, postgres_folder: Path
) -> None:
    url = postgres.url.replace("postgres@", f"dwp:{POSTGRES_PASSWORD}@")
    server = own_server(env={"DATABASE_URL": url.replace("/postgres", "/dwp")}).start()
    assert readiness(server) == READY

    with postgres.connect() as connection:
        for setting, status, name in (("on", 503, "database read-only"), ("off", 200, None)):
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
            connection.execute("SELECT pg_reload_conf()")
            wait_until_it_says(server, status, name)

    with no_room(postgres_folder):
        wait_until_it_says(server, 503, "database full")
    wait_until_it_says(server, 200)

    with frozen(postgres):
        body = wait_until_it_says(server, 503, "database")
        # However many ask: none waits for the others.
        with ThreadPoolExecutor(20) as probes:
            answers = list(probes.map(readiness, [server] * 20))
    assert body["reason"] == "The database does not answer in time."
    assert answers == [(503, body)] * 20
    wait_until_it_says(server, 200)

    with postgres.connect() as connection:
        # No decision writes a temporary file. Connections after the stop have this limit.
        connection.execute("ALTER ROLE dwp SET temp_file_limit = 0")
    asyncio.run(postgres.stop("fast"))
    wait_until_it_says(server, 503, "database")
    assert server.get("/health").status == 200
    asyncio.run(postgres.start())
    wait_until_it_says(server, 200)
    assert server.stop() == 0


@pytest.mark.slow
def test_ready_says_that_sqlite_has_no_room(
    own_server: Maker, data_after_first_run: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 24):
        shutil.copytree(data_after_first_run, disk / "data")
        env = {"REDIS_URL": os.environ["REDIS_URL"]}
        server = own_server(data_dir=disk / "data", env=env).start()
        assert readiness(server) == READY
        with no_room(disk):
            wait_until_it_says(server, 503, "database full")
        wait_until_it_says(server, 200)
        assert server.stop() == 0
