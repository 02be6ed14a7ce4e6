"""What has to exist before the first request: the tables and somebody who can log in."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from dwp_project.gateway.models import Membership
from dwp_project.gateway.roles import Role

USERNAME = "operator"
TENANT = "tenant1"
# Any number; every process that migrates the same PostgreSQL has to use the same one.
_ADVISORY_LOCK = 0x64777001


@dataclass(frozen=True, slots=True)
class Operator:
    """The account of the first run. `password` is None when it is not the one we made."""

    username: str
    password: str | None
    file: Path


def migrate(data_dir: Path, verbosity: int) -> None:
    """Bring the tables up to date; of processes that start at once, one does it."""
    with _alone(data_dir):
        call_command("migrate", interactive=False, verbosity=verbosity)


def ensure_operator(data_dir: Path) -> Operator | None:
    """Return the operator of the first run, made if there is no active superuser at all.

    None if there are superusers and `operator` is not among them: the deployment has its own.
    """
    users = get_user_model().objects
    file = data_dir / "operator.json"
    if not users.filter(is_superuser=True, is_active=True).exists():
        password = _kept_password(file)
        # Another process that starts at the same moment may be first.
        with suppress(IntegrityError), transaction.atomic():
            user = users.create_superuser(USERNAME, "", password)
            Membership.objects.create(user=user, tenant_id=TENANT, role=Role.ADMIN)
    operator = users.filter(username=USERNAME, is_superuser=True, is_active=True).first()
    if operator is None:
        return None
    kept = _read_password(file)
    is_ours = kept is not None and operator.check_password(kept)
    return Operator(USERNAME, kept if is_ours else None, file)


def _kept_password(file: Path) -> str:
    """Return the password kept in `file`, made and kept if there is none."""
    if (password := _read_password(file)) is not None:
        return password
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    password = secrets.token_urlsafe(12)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump({"username": USERNAME, "password": password}, target)
    try:
        # Whole or not at all: a second process reads the same password.
        os.link(fresh, file)
    except FileExistsError:
        return _read_password(file) or password
    finally:
        fresh.unlink()
    return password


def _read_password(file: Path) -> str | None:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    password = kept.get("password") if isinstance(kept, dict) else None
    return password if isinstance(password, str) else None


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold what other processes that migrate the same database wait for."""
    with (data_dir / "migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_ADVISORY_LOCK])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
