"""A whole deployment behind PgBouncer in transaction mode, set up as deploy.md says."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import POSTGRES_PASSWORD
from tests.acceptance.programs import program, running, snippet
from tests.acceptance.prompts import decide, names, start
from tests.acceptance.server import CHECKOUT, RunningServer, free_ports
from tests.chaos.postgres import Postgres


@pytest.fixture
def pooled_url(postgres: Postgres) -> Iterator[str]:
    """Return the DATABASE_URL that leads through a PgBouncer with the settings of deploy.md."""
    pgbouncer = program("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="dwp-pgbouncer-", dir="/tmp"))
    folder.chmod(0o755)
    port, server_port = free_ports(1)[0], postgres.url.rpartition(":")[2].partition("/")[0]
    text = snippet("[databases]")
    for shipped, used in (
        ("port=5432", f"port={server_port}"),
        ("6432", str(port)),
        ("/etc/pgbouncer/userlist.txt", f"{folder}/userlist.txt"),
    ):
        assert shipped in text
        text = text.replace(shipped, used)
    (folder / "pgbouncer.ini").write_text(text, encoding="utf-8")
    (folder / "userlist.txt").write_text(f'"dwp" "{POSTGRES_PASSWORD}"\n', encoding="utf-8")
    with postgres.connect() as connection:
        connection.execute(snippet("ALTER ROLE dwp SET").encode())
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    try:
        command = [pgbouncer, *user, str(folder / "pgbouncer.ini")]
        with running(command, folder / "log", port):
            yield f"postgres://dwp:{POSTGRES_PASSWORD}@127.0.0.1:{port}/dwp"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_everything_works_behind_pgbouncer_in_transaction_mode(
    own_server: Callable[..., RunningServer], pooled_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    env = {
        "DATABASE_URL": pooled_url,
        "DATABASE_PGBOUNCER": "true",
        "AUDIT_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        "AUDIT_SIGNING_KEY": base64.b64encode(bytes(range(32))).decode(),
    }
    # Only the database keeps two that share no DATA_DIR from migrating at once.
    server, other = own_server(env=env), own_server(data_dir=tmp_path / "other" / "data", env=env)
    other.data_dir.parent.mkdir()
    with ThreadPoolExecutor() as starting:
        list(starting.map(RunningServer.start, (server, other)))
    assert other.stop() == 0
    assert server.get("/ready").json() == {"status": "ready"}
    with start(server, "POST", "delete 3 mails") as stream:
        request_id = stream.until("hitl")[-1].json()["requestId"]
        assert decide(server, "approve", request_id).status == 200
        assert names(list(stream.events()))[-2:] == ["end", "[DONE]"]
    # In one process, because a start takes longer than all three.
    commands = (
        "from django.core.management import call_command as call;"
        "call('migrate', check_unapplied=True); call('checkpoint_audit'); call('verify_audit')"
    )
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", commands],
        cwd=CHECKOUT,
        env=server.environment,
        check=True,
        capture_output=True,
    )
    with psycopg.connect(pooled_url, prepare_threshold=None) as connection:
        limit = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
    with postgres.connect() as connection:
        locks = connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchall()

    assert limit == ("3s",)
    # One that stayed would keep every later start waiting.
    assert locks == []
    assert server.stop() == 0
    assert not re.search(r"Traceback|prepared statement|cursor", server.output)
