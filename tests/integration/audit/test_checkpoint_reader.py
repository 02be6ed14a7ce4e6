"""What signed checkpoints, in the database and in the files, say of a chain."""

from __future__ import annotations

import base64
import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from hitl.audit import checkpoints, signing, verify
from hitl.audit.diagnose import BreakKind
from hitl.models import AuditChain, AuditCheckpoint
from tests.integration.audit.signed_chains import broken, cut
from tests.integration.chains import chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_tail_cut_off_with_head_and_checkpoints_is_found_by_the_files() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    checkpoints.sign_head("tenant1")
    cut(4)
    AuditCheckpoint.objects.filter(sequence__gt=4).delete()

    assert broken() == (BreakKind.TRUNCATED, 5)
    with pytest.raises(CommandError, match="breaks at record 5"):
        call_command("verify_audit", stdout=StringIO())


def test_tail_cut_off_is_found_by_the_database_alone(folder: Path) -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    shutil.rmtree(folder)
    cut(4)

    assert broken() == (BreakKind.TRUNCATED, 5)


def test_chain_removed_whole_with_its_checkpoints_is_found() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    cut(0)
    AuditChain.objects.all().delete()
    AuditCheckpoint.objects.all().delete()

    assert verify.tenants() == ["tenant1"]
    assert broken() == (BreakKind.TRUNCATED, 1)


@pytest.mark.parametrize("column", ["statement", "signature", "hash", "sequence"])
def test_edited_checkpoint_is_found(column: str) -> None:
    chain_of(3)
    checkpoint = checkpoints.sign_head("tenant1")
    assert checkpoint is not None
    forged = {
        "statement": checkpoint.statement.replace('"sequence":3', '"sequence":2'),
        "signature": base64.b64encode(b"x" * 64).decode(),
        "hash": "0" * 64,
        "sequence": 2,
    }[column]
    AuditCheckpoint.objects.update(**{column: forged})

    assert broken()[0] is BreakKind.FORGED


def test_rotated_key_keeps_verifying_where_it_is_trusted(
    settings: Settings, tmp_path: Path
) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    folder_of_keys = tmp_path / "keys"
    folder_of_keys.mkdir()
    (folder_of_keys / "2026.pem").write_text(signing.public_pem(signing.signing_key().public))
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()

    unknown = verify.verify("tenant1")
    assert isinstance(unknown, verify.IntactChain)
    assert unknown.vouched == 0

    settings.AUDIT_TRUSTED_KEYS = [str(folder_of_keys)]
    known = verify.verify("tenant1")
    assert isinstance(known, verify.IntactChain)
    assert known.vouched == 2
    assert checkpoints.sign_head("tenant1") is not None  # the same head, by the new key
