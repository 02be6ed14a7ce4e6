"""The grants of deploy/postgresql-roles.sql: the application works, and cannot touch its audit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import errors, sql

from tests.acceptance.server import RunningServer
from tests.services import JWT_SECRET, services

pytestmark = [
    pytest.mark.skipif(services.database != "postgres", reason="PostgreSQL only"),
    pytest.mark.django_db,
    pytest.mark.timeout(600),
]
CHECKOUT = Path(__file__).resolve().parents[3]
GRANTS = CHECKOUT / "deploy/postgresql-roles.sql"
DATABASE = f"dwp_roles_{os.getpid()}"
ROLES = ("dwp_app", "dwp_owner")

# What a deployment does in a day, as the application's own user.
FLOW = """
from django.conf import settings
from django.db import connection
from hitl import services
from hitl.actors import system_actor
from hitl.audit import checkpoints, export, export_file, signing, verify, verify_export
from hitl.audit.export_format import Format
from hitl.states import Origin
from tests import factories
from tests.people import APPROVER, REQUESTER

with connection.cursor() as cursor:
    cursor.execute("SELECT current_user")
    assert cursor.fetchone() == ("dwp_app",)
request, _ = services.open_request(
    factories.question(), factories.actor(REQUESTER), Origin.REST)
services.approve(request.request_id, factories.actor(APPROVER))
other, _ = services.open_request(
    factories.question(), factories.actor(REQUESTER), Origin.REST)
services.cancel(other.request_id, factories.actor(APPROVER))
assert checkpoints.sign_head("tenant1").sequence == 4
result = verify.verify("tenant1")
assert isinstance(result, verify.IntactChain) and result.vouched == 4, result
path = settings.DATA_DIR / "out.zip"
with path.open("wb") as file:
    for chunk in export_file.zip_chunks(export.begin(system_actor("tenant1"), Format.CSV)):
        file.write(chunk)
assert verify_export.verify(path, signing.trusted_keys()).manifest["records"] == 4
print("the flow went through")
"""


def connect(role: str | None = None, database: str = DATABASE) -> psycopg.Connection:
    """Connect to the test's own database as one of its roles, or as the superuser."""
    params = connection.get_connection_params()
    connection_params = {
        name: params[name] for name in ("host", "port", "user", "password") if params.get(name)
    }
    if role:
        connection_params["user"] = role
    return psycopg.connect(**{**connection_params, "dbname": database}, autocommit=True)


def environment(role: str, data_dir: Path) -> dict[str, str]:
    """Return the environment of a process that uses the database as `role`."""
    params = connection.get_connection_params()
    host, port = params.get("host") or "127.0.0.1", params.get("port")
    place = host if host.startswith("/") else f"{host}:{port or 5432}"
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "DATABASE_URL": f"postgres://{role}@/{place}/{DATABASE}"
        if host.startswith("/")
        else f"postgres://{role}@{place}/{DATABASE}",
        "DATA_DIR": str(data_dir),
        "JWT_SECRET": JWT_SECRET,
        "REDIS_URL": os.environ["REDIS_URL"],
        "LOG_LEVEL": "ERROR",
    }


def manage(role: str, data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `role`."""
    return subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=CHECKOUT,
        env=environment(role, data_dir),
        capture_output=True,
        text=True,
        check=False,
    )


def apply_grants() -> None:
    with connect() as superuser:
        superuser.execute(GRANTS.read_text(encoding="utf-8").encode())


@pytest.fixture(scope="module")
def data_dir(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database of its own, migrated and granted as the documentation says; its DATA_DIR."""
    folder = tmp_path_factory.mktemp("roles")
    with connect(database="postgres") as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    try:
        # As before the roles: the superuser, or whoever it was, made the tables.
        migrated = manage(str(connection.get_connection_params()["user"]), folder, "migrate")
        assert migrated.returncode == 0, migrated.stderr
        apply_grants()
        yield folder
    finally:
        with connect(database="postgres") as superuser:
            name = sql.Identifier(DATABASE)
            superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            for role in ROLES:
                superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def test_application_role_does_all_that_the_application_does(data_dir: Path) -> None:
    done = manage("dwp_app", data_dir, "shell", "-c", FLOW)

    assert "the flow went through" in done.stdout, done.stderr
    assert manage("dwp_app", data_dir, "verify_audit").returncode == 0


# A record that somebody put behind the head with the application's own user.
BLOCKED = """
from hitl import services
from hitl.errors import ChainBlocked
from hitl.states import Origin
from tests import factories
from tests.integration.audit.strays import stray
from tests.people import OUTSIDER

def ask():
    return services.open_request(factories.question(), factories.actor(OUTSIDER), Origin.REST)

ask()
stray(2, tenant_id="tenant2")
try:
    ask()
except ChainBlocked:
    print("the chain is blocked")
"""
GOES_ON = """
from hitl import services
from tests import factories
from tests.people import OUTSIDER
from hitl.models import ApprovalRequest

request = ApprovalRequest.objects.get(tenant_id="tenant2")
services.approve(request.request_id, factories.actor(OUTSIDER))
print("it was decided")
"""


def test_application_role_acknowledges_a_break_and_goes_on(data_dir: Path) -> None:
    assert "the chain is blocked" in manage("dwp_app", data_dir, "shell", "-c", BLOCKED).stdout
    words = ["--tenant", "tenant2", "--reason", "inserted with SQL"]

    done = manage("dwp_app", data_dir, "acknowledge_audit_break", *words)

    assert "the chain goes on from record 3" in done.stdout, done.stderr
    assert "it was decided" in manage("dwp_app", data_dir, "shell", "-c", GOES_ON).stdout
    verified = manage("dwp_app", data_dir, "verify_audit", "--tenant", "tenant2")
    assert (verified.returncode, "inserted with SQL" in verified.stdout) == (0, True)
    exported = manage(
        "dwp_app", data_dir, "export_audit", str(data_dir / "t2.zip"), "--tenant", "tenant2"
    )
    assert exported.returncode == 0, exported.stderr


def test_application_role_may_start_where_everything_is_migrated(data_dir: Path) -> None:
    checked = manage("dwp_app", data_dir, "migrate", "--check")
    assert checked.returncode == 0, checked.stderr
    # What `serve` does before it serves.
    migrated = manage("dwp_app", data_dir, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert manage("dwp_app", data_dir, "check", "--database", "default").returncode == 0


def test_application_role_serves(data_dir: Path, tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", env=environment("dwp_app", tmp_path / "data"))
    try:
        server.start()
        body = {"sessionId": "s-roles", "actionType": "pay", "message": "May I?", "context": {}}
        opened = server.request("POST", "/aura/hitl/requests", server.headers(), body).json()
        path = f"/aura/hitl/approve/{opened['data']['requestId']}"
        headers = server.headers("approver1", role="approver")
        assert server.request("POST", path, headers, {}).status == 200
        assert server.stop() == 0, server.output
    finally:
        server.end()


def test_owner_migrates_and_the_application_uses_what_it_makes(data_dir: Path) -> None:
    migrated = manage("dwp_owner", data_dir, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    with connect("dwp_owner") as owner:
        owner.execute("CREATE TABLE later (id bigserial PRIMARY KEY, said text)")
        with connect("dwp_app") as application:
            application.execute("INSERT INTO later (said) VALUES ('x')")
        owner.execute("DROP TABLE later")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hitl_auditrecord SET actor = 'x'",
        "DELETE FROM hitl_auditrecord",
        "TRUNCATE hitl_auditrecord",
        "INSERT INTO hitl_auditrecord SELECT * FROM hitl_auditrecord "
        "ON CONFLICT (id) DO UPDATE SET actor = 'x'",
        "ALTER TABLE hitl_auditrecord DISABLE TRIGGER audit_no_change",
        "ALTER TABLE hitl_auditrecord DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_no_change ON hitl_auditrecord",
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NEW; END $$",
        "SET session_replication_role = replica",
        "ALTER TABLE hitl_auditrecord ADD COLUMN x int",
        "ALTER TABLE hitl_auditrecord OWNER TO dwp_app",
        "DROP TABLE hitl_auditrecord",
        "CREATE RULE never AS ON INSERT TO hitl_auditrecord DO INSTEAD NOTHING",
        "CREATE TABLE public.mine (id int)",
        "UPDATE hitl_auditcheckpoint SET hash = 'x'",
        "DELETE FROM hitl_auditcheckpoint",
        "TRUNCATE hitl_auditcheckpoint",
        "DELETE FROM hitl_auditchain",
        "TRUNCATE hitl_auditchain",
        "DELETE FROM django_migrations",
        "SET ROLE dwp_owner",
        "ALTER ROLE dwp_app SUPERUSER",
    ],
)
def test_application_role_is_refused(data_dir: Path, statement: str) -> None:
    with (
        connect("dwp_app") as application,
        pytest.raises((errors.InsufficientPrivilege, errors.WrongObjectType)),
    ):
        application.execute(statement.encode())


def test_grants_may_be_applied_again_and_take_back_what_was_given(data_dir: Path) -> None:
    with connect() as superuser:
        superuser.execute("GRANT ALL ON hitl_auditrecord TO dwp_app, PUBLIC")
        superuser.execute("GRANT dwp_owner TO dwp_app")

    apply_grants()

    with connect("dwp_app") as application:
        for statement in ("DELETE FROM hitl_auditrecord", "SET ROLE dwp_owner"):
            with pytest.raises(errors.InsufficientPrivilege):
                application.execute(statement.encode())
