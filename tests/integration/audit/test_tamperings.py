"""Whatever somebody changes behind the audit's back, `verify_audit` names it: no row, record,
trigger or checkpoint is changed unseen but for what `BEYOND_PROOF` lists."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from hitl import services
from hitl.audit import checkpoints, record
from hitl.states import AuditEvent
from tests import factories
from tests.integration.audit import everything
from tests.integration.audit.tamperings import BEYOND_PROOF, TAMPERINGS, Names
from tests.people import TENANT

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture(scope="module")
def signed_folder(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """Have everything happen once, signed but for what is young; each test takes back what it
    does. Returns the folder of the checkpoint files."""
    folder = tmp_path_factory.mktemp("signed") / "checkpoints"
    with django_db_blocker.unblock(), transaction.atomic():
        with (
            override_settings(AUDIT_CHECKPOINT_DIR=str(folder), AUDIT_SIGNING_KEY=KEY),
            redis.Redis.from_url(_redis_url(), decode_responses=True) as client,
        ):
            client.flushall()
            everything.happens(client)
            everything.ask("young")
            for tenant in record.tenants():
                checkpoints.sign_head(tenant)
            _write(3)
            checkpoints.sign_head(TENANT)
            services.approve("young", factories.actor())
            _write(3)
        yield folder
        transaction.set_rollback(True)


def _redis_url() -> str:
    from django.conf import settings

    return str(settings.REDIS_URL)


def _write(count: int) -> None:
    """Write records of which no row says anything."""
    for number in range(count):
        with transaction.atomic():
            record.write(
                AuditEvent.SESSION_REFUSED,
                factories.actor(),
                timezone.now(),
                session_id=f"session-{number}",
            )


@pytest.fixture(autouse=True)
def _as_it_was(signed_folder: Path, tmp_path: Path, settings: Settings, db: None) -> None:
    shutil.copytree(signed_folder, tmp_path / "signed")
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "signed")
    settings.AUDIT_SIGNING_KEY = KEY


def verified() -> tuple[int, Names, str]:
    """Return what `verify_audit --json` ends with, what it names, and all that it says."""
    out, code, error = StringIO(), 0, ""
    try:
        call_command("verify_audit", "--json", stdout=out)
    except CommandError as exc:
        code, error = exc.returncode, str(exc)
    names: Names = {("trigger", name) for name in re.findall(r"audit_no_\w+", error)}
    for chain in map(json.loads, out.getvalue().splitlines()):
        if chain.get("holds") is False:
            names.add(("chain", chain["tenant"], chain["kind"]))
        if chain.get("verdict") == "unvouched":
            names.add(("unvouched", chain["tenant"]))
        names |= {(each["kind"], each["name"], each["what"]) for each in chain["differences"]}
    return code, names, out.getvalue() + error


def test_everything_is_whole_before_anybody_tampers() -> None:
    code, names, text = verified()

    assert (code, names) == (0, set()), text


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_named(name: str) -> None:
    tampering = TAMPERINGS[name]

    tampering.do()

    code, names, text = verified()
    assert (code, names) == (tampering.code, tampering.names), text


@pytest.mark.parametrize("name", BEYOND_PROOF)
def test_what_needs_the_owner_or_the_key_may_be_beyond_proof(name: str) -> None:
    BEYOND_PROOF[name]()

    code, names, text = verified()
    assert (code, names) == (0, set()), text


def test_there_are_enough_of_them() -> None:
    assert len(TAMPERINGS) >= 60
    assert len(BEYOND_PROOF) <= 8
