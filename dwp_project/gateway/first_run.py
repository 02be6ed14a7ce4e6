"""Creates what has to exist before the first request: the tables and an operator's account."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from dwp_project.gateway.models import Membership, Tenant
from dwp_project.gateway.passwords import check_password
from dwp_project.gateway.roles import Role

USERNAME = "operator"
TENANT = "tenant1"
# Chosen: any number that every process which migrates the same PostgreSQL uses.
_ADVISORY_LOCK = 0x64777001


@dataclass(frozen=True, slots=True)
class Operator:
    """The account of the first run. `password` is None if somebody changed it."""

    username: str
    password: str | None
    file: Path


def migrate(data_dir: Path, verbosity: int) -> None:
    """Bring the tables up to date; processes that start at once do it one after the other."""
    with _migration_lock(data_dir):
        call_command("migrate", interactive=False, verbosity=verbosity)


def ensure_operator(data_dir: Path) -> Operator | None:
    """Return the operator of the first run; create it if there is no active superuser at all.

    None if there are superusers and `operator` is not among them: the deployment has its own.
    """
    users = get_user_model().objects
    file = data_dir / "operator.json"
    if not users.filter(is_superuser=True, is_active=True).exists():
        _create_operator(file)
    operator = users.filter(username=USERNAME, is_superuser=True, is_active=True).first()
    if operator is None:
        return None
    stored = _read(file)
    password = stored.get("password")
    # Hashing takes seconds on a small machine, so the password is checked only if its hash changed.
    is_ours = password is not None and (
        operator.password == stored.get("hash") or check_password(operator, password)
    )
    return Operator(USERNAME, password if is_ours else None, file)


def _create_operator(file: Path) -> None:
    """Create the account, with the password in `file` or a new one."""
    stored = _read(file)
    if "password" not in stored:
        # Written before it is used, so that a crash in between leaves no unknown password.
        operator = {"username": USERNAME, "password": secrets.token_urlsafe(12)}
        # Replace a file without a password; otherwise the process that writes first wins.
        _write(file, operator, os.replace if file.exists() else os.link)
        stored = _read(file)
    # Another process that starts at the same moment may create it first.
    with suppress(IntegrityError):
        with transaction.atomic():
            user = get_user_model().objects.create_superuser(USERNAME, "", stored["password"])
            Tenant.objects.get_or_create(tenant_id=TENANT)
            Membership.objects.create(user=user, tenant_id=TENANT, role=Role.ADMIN)
        _write(file, stored | {"hash": user.password}, os.replace)


def _read(file: Path) -> dict[str, str]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: value for name, value in stored.items() if isinstance(value, str)}


def _write(file: Path, stored: dict[str, str], put: Callable[[Path, Path], None]) -> None:
    """Write `file` whole or not at all, readable by its owner; `put` moves it into place."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump(stored, target)
    try:
        with suppress(FileExistsError):
            put(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _migration_lock(data_dir: Path) -> Iterator[None]:
    """Lock out other processes that migrate the same database."""
    with (data_dir / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if connection.vendor != "postgresql":
            yield
            return
        # In a transaction of another connection: behind PgBouncer nothing else keeps a lock.
        other = connection.copy()
        other.settings_dict["OPTIONS"].pop("pool", None)
        with closing(other):
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
            yield
