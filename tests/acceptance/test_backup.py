"""Backup and restore with the scripts that are shipped, as docs/how-to/backup.md says."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

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

    def run_as_other(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command, as root does for a user whom folders can be closed to, who may not have
        this Python."""
        is_root = os.geteuid() == 0
        environment = self.server.environment
        return subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd=CHECKOUT,
            env=environment | {"PYTHON": "/usr/bin/python3" if is_root else sys.executable},
            user=65534 if is_root else None,
            capture_output=True,
            text=True,
        )

    def make_tables(self) -> None:
        """Have a database with a request, and the files that the first use makes."""
        for arguments in (
            ("migrate", "--verbosity", "0"),
            ("shell", "--verbosity", "0", "-c", "from tests.factories import opened; opened()"),
        ):
            done = self.manage(*arguments)
            assert done.returncode == 0, done.stderr

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


@contextmanager
def running_redis(socket: Path, folder: Path) -> Iterator[None]:
    redis = RedisProcess(socket, folder)
    redis.start()
    try:
        yield
    finally:
        redis.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(
    request: pytest.FixtureRequest, own_server: Callable[..., RunningServer], tmp_path: Path
) -> Iterator[Installation]:
    data_dir = tmp_path / "new" / "data"
    data_dir.mkdir(parents=True, mode=0o700)
    postgres = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Installation(own_server(data_dir=data_dir), postgres)
    with running_redis(redis_socket(data_dir), data_dir / "redis"):
        yield made


@pytest.fixture(scope="module")
def data_with_a_request(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a DATA_DIR with tables, a request, a checkpoint, and the files of a first use."""
    data_dir = tmp_path_factory.mktemp("with-a-request") / "data"
    data_dir.mkdir(mode=0o700)
    made = Installation(RunningServer(data_dir), None)
    with running_redis(redis_socket(data_dir), data_dir / "redis"):
        made.make_tables()
        assert made.manage("checkpoint_audit").returncode == 0
    return data_dir


@pytest.fixture
def on_sqlite(
    own_server: Callable[..., RunningServer], data_with_a_request: Path, tmp_path: Path
) -> Iterator[Installation]:
    """Return an installation without servers, with a request; its Redis stays where it is."""
    data_dir = tmp_path / "data"
    shutil.copytree(data_with_a_request, data_dir, ignore=shutil.ignore_patterns("redis*"))
    made = Installation(own_server(data_dir=data_dir), None)
    with tempfile.TemporaryDirectory(prefix="dwp-redis-", dir="/tmp") as folder:
        made.server.env["REDIS_URL"] = f"unix://{folder}/redis.sock"
        with running_redis(Path(folder) / "redis.sock", Path(folder) / "redis"):
            yield made


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return opened.getnames()


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
    assert "Warning" not in done.stderr + restored.stderr + verified.stderr
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
def test_lost_keys_and_checkpoints_are_put_back(on_sqlite: Installation, tmp_path: Path) -> None:
    # Files are the same for every database.
    server, backup = on_sqlite.server, tmp_path / "backup"
    extra = tmp_path / "dwp.env"
    extra.write_text("SECRET=1")
    extra.chmod(0o600)
    assert on_sqlite.run("deploy/backup.sh", backup, extra).returncode == 0
    names = ("audit_signing_key", "jwt_secret", "django_secret_key")
    before = {name: (server.data_dir / name).read_bytes() for name in names}
    on_sqlite.lose_database()
    for path in (extra, *(server.data_dir / name for name in names)):
        path.unlink()
    for path in (server.data_dir / "checkpoints").iterdir():
        path.unlink()

    assert on_sqlite.run("deploy/restore.sh", backup).returncode == 0

    assert {name: (server.data_dir / name).read_bytes() for name in names} == before
    assert (extra.read_text(), extra.stat().st_mode & 0o777) == ("SECRET=1", 0o600)
    verified = on_sqlite.manage("verify_audit")
    assert verified.returncode == 0, verified.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_database_that_is_named_as_a_file_leaves_no_file_out(
    installation: Installation, tmp_path: Path
) -> None:
    server = installation.server
    if installation.postgres is not None:
        with installation.postgres.connect() as connection:
            connection.execute("CREATE DATABASE audit OWNER dwp")
        server.env["DATABASE_URL"] = server.env["DATABASE_URL"].removesuffix("/dwp") + "/audit"
    else:
        server.env["DATABASE_URL"] = f"sqlite:///{server.data_dir}/audit"
    (server.data_dir / "redis-ca.crt").write_text("a certificate")
    installation.make_tables()

    done = installation.run("deploy/backup.sh", tmp_path / "backup")

    assert done.returncode == 0, done.stderr
    names = set(names_in(tmp_path / "backup/data.tar"))
    assert {"./audit_signing_key", "./redis-ca.crt"} <= names
    assert not {name for name in names if name.startswith(("./redis/", "./audit-"))}
    assert not {"./audit", "./redis", "./redis.sock"} & names


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_path_with_odd_characters_is_backed_up_and_a_database_without_tables_is_none(
    on_sqlite: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "100%23 #1?x"
    on_sqlite.server.data_dir.rename(folder)
    on_sqlite.server.data_dir = folder
    on_sqlite.server.env["DATABASE_URL"] = f"sqlite:///{quote(str(folder))}/dwp.sqlite3"

    done = on_sqlite.run("deploy/backup.sh", tmp_path / "backup")

    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "backup/database.sqlite3") as copy:
        assert copy.execute("SELECT * FROM django_migrations").fetchone()
    assert "./dwp.sqlite3" not in names_in(tmp_path / "backup/data.tar")
    (folder / "dwp.sqlite3").rename(folder / "elsewhere")
    (folder / "dwp.sqlite3").touch()
    empty = on_sqlite.run("deploy/backup.sh", tmp_path / "empty")
    assert (empty.returncode, (tmp_path / "empty").exists()) == (1, False)
    assert "has no tables" in empty.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("installation", ["postgresql"], indirect=True)
def test_empty_postgresql_database_is_no_backup(installation: Installation, tmp_path: Path) -> None:
    empty = installation.run("deploy/backup.sh", tmp_path / "empty")

    assert (empty.returncode, (tmp_path / "empty").exists()) == (1, False)
    assert "has no tables" in empty.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_backup_inside_the_data_has_no_backup_in_it(on_sqlite: Installation) -> None:
    first, second = (on_sqlite.server.data_dir / name for name in ("backup-1", "backup-2"))
    assert on_sqlite.run("deploy/backup.sh", first).returncode == 0

    done = on_sqlite.run("deploy/backup.sh", second)

    assert done.returncode == 0, done.stderr
    assert str(first) in done.stdout.splitlines()[0]
    for folder in (first, second):
        names = names_in(folder / "data.tar")
        assert "./audit_signing_key" in names
        assert not [name for name in names if name.startswith("./backup")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_copy_beside_the_original_writes_nothing_into_its_folders(
    on_sqlite: Installation, tmp_path: Path
) -> None:
    server, backup, extra = on_sqlite.server, tmp_path / "backup", tmp_path / "dwp.env"
    extra.touch()
    assert on_sqlite.run("deploy/backup.sh", backup, extra).returncode == 0
    original, copy = server.data_dir, tmp_path / "copy"
    key = (original / "audit_signing_key").read_bytes()
    for path in (extra, original / "audit_signing_key"):
        path.unlink()
    server.data_dir = copy

    restored = on_sqlite.run("deploy/restore.sh", backup)

    assert restored.returncode == 0, restored.stderr
    assert (copy / "audit_signing_key").read_bytes() == key
    assert not (original / "audit_signing_key").exists()
    assert (extra.exists(), str(extra).lstrip("/") in restored.stderr) == (False, True)
    assert on_sqlite.manage("verify_audit").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_other_paths_of_keys_stop_the_restore_before_it_writes(
    on_sqlite: Installation, tmp_path: Path
) -> None:
    key = tmp_path / "audit.key"
    key.write_bytes((on_sqlite.server.data_dir / "audit_signing_key").read_bytes())
    on_sqlite.server.env["AUDIT_SIGNING_KEY_FILE"] = str(key)
    assert on_sqlite.run("deploy/backup.sh", tmp_path / "backup").returncode == 0
    key.unlink()
    on_sqlite.server.data_dir = tmp_path / "copy"
    elsewhere = str(tmp_path / "elsewhere.key")
    for value in ("", elsewhere):
        on_sqlite.server.env["AUDIT_SIGNING_KEY_FILE"] = value

        refused = on_sqlite.run("deploy/restore.sh", tmp_path / "backup")

        assert refused.returncode == 1
        assert f"AUDIT_SIGNING_KEY_FILE={key}" in refused.stderr
        assert not (tmp_path / "copy").exists()
        assert not key.exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_files_in_a_closed_folder_are_named_before_anything_is_put_back(
    on_sqlite: Installation,
) -> None:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="dwp-backup-", dir="/tmp") as name:
        top = Path(name)
        top.chmod(0o755)
        (key := top / "closed/audit.key").parent.mkdir()
        shutil.move(on_sqlite.server.data_dir, top / "data")
        on_sqlite.server.data_dir = top / "data"
        (top / "data/audit_signing_key").rename(key)
        on_sqlite.server.env["AUDIT_SIGNING_KEY_FILE"] = str(key)
        assert on_sqlite.run("deploy/backup.sh", top / "backup").returncode == 0
        for path in ((top / "backup"), *(top / "backup").iterdir()):
            path.chmod(0o755)
        key.unlink()
        shutil.rmtree(top / "data")
        key.parent.chmod(0o555)

        refused = on_sqlite.run_as_other("deploy/restore.sh", top / "backup")

        assert refused.returncode == 1
        assert "Nothing was done" in refused.stderr
        assert not (top / "data").exists()
        by_hand = refused.stderr.splitlines()[-1].strip()
        key.parent.chmod(0o755)
        subprocess.run(shlex.split(by_hand), check=True)
        assert key.exists()
