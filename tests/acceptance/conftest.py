"""A server for the whole run, and servers of a test's own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from dwp_project.embedded_redis import RedisProcess
from dwp_project.gateway import first_run
from tests.acceptance.app_server import AppServer
from tests.acceptance.server import RunningServer, free_ports, running_redis
from tests.chaos.postgres import Postgres

POSTGRES_PASSWORD = "password"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return the server that tests share; how it ends is a promise too."""
    running = RunningServer(tmp_path_factory.mktemp("server") / "data")
    try:
        yield running.start()
        assert running.stop() == 0, running.output
        assert not running.has_redis()
    finally:
        running.end()


@pytest.fixture(scope="session")
def data_after_first_run(
    django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a DATA_DIR with every table and the first operator: they take a second of a start."""
    folder = tmp_path_factory.mktemp("first-run") / "data"
    folder.mkdir(mode=0o700)
    configured = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = folder / "dwp.sqlite3"
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        first_run.ensure_operator(folder)
        connection.close()
    connection.settings_dict["NAME"] = configured
    return folder


@pytest.fixture
def outside_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """Return a Redis that is no server's own."""
    with running_redis(tmp_path / "redis.sock", tmp_path / "redis") as process:
        yield process


@pytest.fixture
def own_server(
    tmp_path: Path, data_after_first_run: Path
) -> Iterator[Callable[..., RunningServer]]:
    """Return a maker of servers that are not started; takes `ports`, `env`, `data_dir`.

    Without a `data_dir` they are past their first run, which `server` goes through.
    """
    made: list[RunningServer] = []

    def make(data_dir: Path | None = None, **options: object) -> RunningServer:
        if data_dir is None:
            data_dir = tmp_path / "data"
            shutil.copytree(data_after_first_run, data_dir, dirs_exist_ok=True)
        made.append(RunningServer(data_dir, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def postgres_folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="dwp-postgres-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(
    postgres_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Postgres]:
    """Return a running PostgreSQL of the test's own, with a role `dwp` and its database."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Postgres(postgres_folder / "data", free_ports(1)[0])
    try:
        asyncio.run(made.start())
        with made.connect() as connection:
            connection.execute(f"CREATE ROLE dwp LOGIN PASSWORD '{POSTGRES_PASSWORD}'")
            connection.execute("CREATE DATABASE dwp OWNER dwp")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Return a server of `failing_app` that no test may end."""
    with AppServer(tmp_path_factory.mktemp("app")) as running:
        yield running
        assert running.process.poll() is None


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AppServer]:
    """Return a server of `failing_app`: the shared one, unless the test asks for options."""
    if not (options := getattr(request, "param", ())):
        yield request.getfixturevalue("shared_app")
        return
    with AppServer(tmp_path, *options) as running:
        yield running


@pytest.fixture
def own_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AppServer]:
    """Return a server of `failing_app` that the test may end."""
    with AppServer(tmp_path, *getattr(request, "param", ())) as running:
        yield running
