"""A whole deployment moves from SQLite to PostgreSQL and back, with the script that is shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dwp_project.datadir import redis_socket
from tests.acceptance.conftest import POSTGRES_PASSWORD
from tests.acceptance.server import CHECKOUT, RunningServer, running_redis
from tests.chaos.postgres import Postgres

SCRIPT = CHECKOUT / "deploy/move-to-postgresql.sh"


class Database:
    """A database of one deployment: the environment that leads to it."""

    def __init__(self, server: RunningServer, url: str) -> None:
        self.url = url
        self.environment = server.environment | {
            "DATABASE_URL": url,
            "REDIS_URL": f"unix://{redis_socket(server.data_dir)}",
            "PYTHON": sys.executable,
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            check=False,
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def python(self, *arguments: str) -> str:
        done = self.run(sys.executable, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self) -> dict[str, list[str]]:
        shown: dict[str, list[str]] = json.loads(
            self.python("-m", "tests.acceptance.all_tables", "show")
        )
        return shown

    def fill(self) -> dict[str, list[str]]:
        """Have rows in every table; return them."""
        self.python("manage.py", "migrate", "--verbosity", "0")
        self.python("-m", "tests.acceptance.all_tables", "fill")
        return self.rows()

    def moves_to(self, url: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(SCRIPT), url)


@pytest.fixture
def server(own_server: Callable[..., RunningServer], tmp_path: Path) -> RunningServer:
    """Return a server that is not started, with a DATA_DIR that is new."""
    data_dir = tmp_path / "new" / "data"
    data_dir.mkdir(parents=True, mode=0o700)
    return own_server(data_dir=data_dir)


@pytest.fixture
def redis_beside(server: RunningServer) -> Iterator[None]:
    with running_redis(redis_socket(server.data_dir), server.data_dir / "redis"):
        yield


@pytest.fixture
def sqlite(server: RunningServer, redis_beside: None) -> Database:
    return Database(server, f"sqlite:///{server.data_dir}/dwp.sqlite3")


@pytest.fixture
def postgresql(server: RunningServer, redis_beside: None, postgres: Postgres) -> Database:
    address = postgres.url.partition("@")[2].partition("/")[0]
    return Database(server, f"postgres://dwp:{POSTGRES_PASSWORD}@{address}/dwp")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deployment_moves_to_postgresql_and_goes_on(
    sqlite: Database, postgresql: Database, server: RunningServer, postgres: Postgres
) -> None:
    before = sqlite.fill()
    assert [name for name, rows in before.items() if not rows] == []

    done = sqlite.moves_to(postgresql.url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every chain holds" in done.stdout
    assert postgresql.rows() == before
    check_sequences(postgres)
    # A second time it would mix two deployments.
    again = sqlite.moves_to(postgresql.url)
    assert (again.returncode, "Name an empty one" in again.stderr) == (1, True)
    check_goes_on(server, postgresql)
    assert postgresql.rows()["deployment.Deployment"] == before["deployment.Deployment"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_database_of_an_older_version_is_not_moved(
    sqlite: Database, server: RunningServer, tmp_path: Path
) -> None:
    sqlite.python("manage.py", "migrate", "hitl", "0013", "--verbosity", "0")

    refused = sqlite.moves_to(f"sqlite:///{tmp_path}/new.sqlite3")

    assert refused.returncode == 1
    assert "run `manage.py migrate`" in refused.stderr
    assert not (tmp_path / "new.sqlite3").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deployment_moves_to_sqlite_too(
    postgresql: Database, server: RunningServer, tmp_path: Path
) -> None:
    before = postgresql.fill()
    back = Database(server, f"sqlite:///{tmp_path}/back.sqlite3")

    done = postgresql.moves_to(back.url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert back.rows() == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_plain_dumpdata_loads_into_another_database(
    sqlite: Database, server: RunningServer, tmp_path: Path
) -> None:
    before = sqlite.fill()
    copy = Database(server, f"sqlite:///{tmp_path}/copy.sqlite3")
    (tmp_path / "x.json").write_text(sqlite.python("manage.py", "dumpdata"), encoding="ascii")

    copy.python("manage.py", "migrate", "--verbosity", "0")
    copy.python("manage.py", "loaddata", str(tmp_path / "x.json"))

    assert copy.rows() == before
    copy.python("manage.py", "verify_audit")


def check_sequences(postgres: Postgres) -> None:
    """Fail unless each next key of a table is beyond its last."""
    query = """
        SELECT table_name, pg_get_serial_sequence(table_name, column_name)
        FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'YES'
    """
    with psycopg.connect(postgres.url.replace("/postgres", "/dwp")) as connection:
        tables: list[Any] = connection.execute(query).fetchall()
        assert tables
        for table, sequence in tables:
            next_key, highest = connection.execute(
                f"SELECT nextval('{sequence}'), (SELECT max(id) FROM {table})"  # noqa: S608
            ).fetchone() or (0, 0)
            assert highest is None or next_key == highest + 1, table


def check_goes_on(server: RunningServer, moved: Database) -> None:
    """Fail unless people sign in and decide at `server` on the moved database."""
    server.env["DATABASE_URL"] = moved.url
    server.env["REDIS_URL"] = moved.environment["REDIS_URL"]
    server.start()
    login = {"username": "kim", "password": "long-enough-1", "tenantId": "tenant1"}

    token = server.request("POST", "/api/auth/login", body=login).json()["data"]["accessToken"]
    headers = {"Authorization": f"Bearer {token}", "X-Tenant-ID": "tenant1"}
    asked = server.request(
        "POST",
        "/aura/hitl/requests",
        headers,
        {"sessionId": "session-after", "actionType": "read_mail", "context": {}},
    ).json()["data"]
    decided = [
        server.request("POST", f"/aura/hitl/approve/{name}", headers, {})
        for name in (asked["requestId"], "odd")
    ]

    assert [answer.status for answer in decided] == [200, 200]
    assert server.stop() == 0
    moved.python("manage.py", "verify_audit")
