"""Backup and restore with the scripts that are shipped, as docs/how-to/backup.md says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwp_project.datadir import redis_socket
from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.conftest import POSTGRES_PASSWORD
from tests.acceptance.prompts import DELETE_THREE, decide, start
from tests.acceptance.server import CHECKOUT, RunningServer
from tests.acceptance.wire import Frame
from tests.chaos.postgres import Postgres


class Installation:
    """A server, its database, and a Redis beside it that outlives both."""

    def __init__(self, server: RunningServer, postgres: Postgres | None) -> None:
        self.server, self.postgres = server, postgres
        server.env["REDIS_URL"] = f"unix://{redis_socket(server.data_dir)}"
        if postgres is not None:
            address = postgres.url.partition("@")[2].partition("/")[0]
            server.env["DATABASE_URL"] = f"postgres://dwp:{POSTGRES_PASSWORD}@{address}/dwp"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        environment = self.server.environment | {"PYTHON": sys.executable}
        if self.postgres is not None:
            environment["PATH"] = f"{self.postgres.programs}:{os.environ['PATH']}"
        return subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
        )

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "manage.py", *arguments)

    def lose_database(self) -> None:
        """Move the files away, or make a new database in the place of the old."""
        if self.postgres is not None:
            with self.postgres.connect() as connection:
                connection.execute("DROP DATABASE dwp")
                connection.execute("CREATE DATABASE dwp OWNER dwp")
            return
        for path in self.server.data_dir.glob("dwp.sqlite3*"):
            path.rename(self.server.data_dir.parent / path.name)

    def open(self, request_id: str) -> None:
        body = {"requestId": request_id, "sessionId": f"session-{request_id}"}
        answer = self.server.request(
            "POST",
            "/aura/hitl/requests",
            self.server.headers(),
            body | {"actionType": "read_mail", "timeoutSeconds": 3600},
        )
        assert answer.status == 201, answer.body

    def approve(self, request_id: str) -> int:
        return decide(self.server, "approve", request_id).status

    def opens_and_approves(self, until: threading.Event) -> None:
        number = 0
        while not until.is_set():
            self.open(f"meanwhile-{number}")
            assert self.approve(f"meanwhile-{number}") == 200
            number += 1

    def finished_session(self) -> list[Frame]:
        frames = []
        with start(self.server, "POST", DELETE_THREE) as stream:
            for frame in stream.events():
                frames.append(frame)
                if frame.event == "hitl":
                    assert self.approve(frame.json()["requestId"]) == 200
        return frames

    def comes_back(self, after: Frame) -> Frame:
        """Return the first frame of a client that saw `after` last."""
        headers = {**self.server.headers(), "Last-Event-ID": str(after.id)}
        with start(self.server, "POST", DELETE_THREE, headers) as stream:
            return next(stream.events())


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(
    request: pytest.FixtureRequest, own_server: Callable[..., RunningServer], tmp_path: Path
) -> Iterator[Installation]:
    data_dir = tmp_path / "new" / "data"
    data_dir.mkdir(parents=True, mode=0o700)
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Installation(own_server(data_dir=data_dir), postgres)
    redis = RedisProcess(redis_socket(data_dir), data_dir / "redis")
    redis.start()
    yield made
    redis.stop()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_backup_of_a_running_server_is_restored_and_its_loss_is_seen(
    installation: Installation, tmp_path: Path
) -> None:
    server, backup = installation.server, tmp_path / "backup"
    server.start()
    kept = installation.finished_session()
    for name in ("kept", "asked-again"):
        installation.open(name)
    assert installation.approve("kept") == 200
    assert installation.manage("checkpoint_audit").returncode == 0

    is_over = threading.Event()
    writer = threading.Thread(target=installation.opens_and_approves, args=[is_over])
    writer.start()
    try:
        done = installation.run("deploy/backup.sh", backup)
    finally:
        is_over.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_mode & 0o777 for path in backup.iterdir()} == {0o600}
    assert backup.stat().st_mode & 0o777 == 0o700
    again = installation.run("deploy/backup.sh", backup)
    assert (again.returncode, "there already" in again.stderr) == (1, True)

    # What is done after the backup is lost, but for the checkpoints outside.
    lost = installation.finished_session()
    assert installation.approve("asked-again") == 200
    assert installation.manage("checkpoint_audit").returncode == 0
    assert server.stop() == 0
    refused = installation.run("deploy/restore.sh", backup)
    assert refused.returncode == 1
    assert "is there. Move it away" in refused.stderr or "has tables" in refused.stderr
    installation.lose_database()

    restored = installation.run("deploy/restore.sh", backup)

    assert restored.returncode == 0, restored.stderr
    assert "asked-again: approved" in restored.stdout
    verified = installation.manage("verify_audit")
    assert verified.returncode == 1
    assert "tenant1: truncated at record" in verified.stdout
    assert "vouches for record" in verified.stderr
    check_loss_is_accepted(installation, tmp_path / "set-aside")

    server.start()
    for frames in (kept, lost):
        for frame in frames[:-1:3]:
            came = installation.comes_back(frame)
            assert came.event == "start"
            assert came.id not in {each.id for each in (*kept, *lost)}
    assert installation.approve("kept") == 409
    assert installation.approve("asked-again") == 200
    assert server.stop() == 0
    assert installation.manage("verify_audit").returncode == 0


def check_loss_is_accepted(installation: Installation, aside: Path) -> None:
    """Fail unless what the page says for after a restore makes the audit whole."""
    aside.mkdir()
    assert installation.manage("checkpoint_audit").returncode == 1
    for path in (installation.server.data_dir / "checkpoints").iterdir():
        path.rename(aside / path.name)
    assert installation.manage("verify_audit").returncode == 3
    rewritten = installation.manage("checkpoint_audit", "--rewrite-files")
    assert rewritten.returncode == 0, rewritten.stderr
    assert installation.manage("verify_audit").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lost_keys_and_checkpoints_are_put_back(installation: Installation, tmp_path: Path) -> None:
    if installation.postgres is not None:
        pytest.skip("files are the same for every database")
    server, backup = installation.server, tmp_path / "backup"
    assert installation.manage("migrate", "--verbosity", "0").returncode == 0
    factory = "from tests.factories import opened; opened(request_id='one')"
    assert installation.manage("shell", "--verbosity", "0", "-c", factory).returncode == 0
    assert installation.manage("checkpoint_audit").returncode == 0
    extra = tmp_path / "dwp.env"
    extra.write_text("SECRET=1")
    extra.chmod(0o600)
    assert installation.run("deploy/backup.sh", backup, extra).returncode == 0
    names = ("audit_signing_key", "jwt_secret", "django_secret_key")
    before = {name: (server.data_dir / name).read_bytes() for name in names}
    installation.lose_database()
    for path in (extra, *(server.data_dir / name for name in names)):
        path.unlink()
    for path in (server.data_dir / "checkpoints").iterdir():
        path.unlink()

    assert installation.run("deploy/restore.sh", backup).returncode == 0

    assert {name: (server.data_dir / name).read_bytes() for name in names} == before
    assert (extra.read_text(), extra.stat().st_mode & 0o777) == ("SECRET=1", 0o600)
    verified = installation.manage("verify_audit")
    assert verified.returncode == 0, verified.stderr
