"""Signed checkpoints: made, kept in two places, and what they find that a chain cannot."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from hitl.audit import checkpoint_files, checkpoints, diagnose, record, signing, triggers, verify
from hitl.audit.diagnose import BreakKind
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from tests import factories
from tests.integration.calls import browser
from tests.integration.chains import NOON, chain_of
from tests.integration.threads import together

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """An empty AUDIT_CHECKPOINT_DIR, and a key of the test's own."""
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()
    return tmp_path / "checkpoints"


def lines() -> list[dict[str, str]]:
    return [
        json.loads(line) for line in checkpoint_files.file_of("tenant1").read_text().splitlines()
    ]


def cut(left: int) -> None:
    """Cut the chain's tail off and set everything in the database to match."""
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence__gt=left).delete()
    last = AuditRecord.objects.filter(sequence=left).first()
    AuditChain.objects.update(last_sequence=left, last_hash=last.hash if last else record.GENESIS)
    triggers.install(connection)


def broken() -> tuple[BreakKind, int]:
    found = verify.verify("tenant1")
    assert isinstance(found, diagnose.ChainBreak), found
    return found.kind, found.sequence


def test_checkpoint_is_a_signed_statement_of_the_head() -> None:
    *_, last = chain_of(3)

    made = checkpoints.sign_head("tenant1", now=NOON)

    assert made is not None
    assert json.loads(made.statement) == {
        "form": 1,
        "tenant": "tenant1",
        "sequence": 3,
        "hash": last.hash,
        "at": "2026-01-16T12:00:00.123456+00:00",
        "keyId": signing.signing_key().key_id,
    }
    public = signing.signing_key().public
    assert signing.is_signed_by(public, made.statement.encode(), made.signature)
    assert not signing.is_signed_by(public, made.statement.encode() + b" ", made.signature)
    assert lines() == [{"statement": made.statement, "signature": made.signature}]


def test_checkpoint_of_a_head_that_did_not_move_is_not_made_again() -> None:
    assert checkpoints.sign_head("tenant1") is None
    chain_of(2)
    assert checkpoints.sign_head("tenant1") is not None
    assert checkpoints.sign_head("tenant1") is None
    assert len(lines()) == 1


def test_files_are_the_owners_and_their_names_safe(folder: Path) -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    path = checkpoint_files.file_of("tenant1")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for tenant in ("../../etc/passwd", "a/b", "", "테넌트", "A" * 255, ".hidden", "tenant 1"):
        assert checkpoint_files.file_of(tenant).resolve().parent == folder.resolve()
    assert checkpoint_files.file_of("a/b") != checkpoint_files.file_of("a_b")


def test_verify_says_how_far_a_chain_is_vouched_for() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)

    holds = verify.verify("tenant1")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.vouched, holds.notes) == (5, 3, ())


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


def test_rewritten_chain_is_found() -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    triggers.remove(connection)
    previous = record.GENESIS
    for entry in AuditRecord.objects.order_by("sequence"):
        entry.actor, entry.previous_hash = "somebody else", previous
        entry.hash = previous = record.hash_of(entry)
        entry.save()
    AuditChain.objects.update(last_hash=previous)
    AuditCheckpoint.objects.all().delete()

    assert broken() == (BreakKind.REWRITTEN, 5)


@pytest.mark.parametrize("column", ["statement", "signature", "hash", "sequence"])
def test_edited_checkpoint_is_found(column: str) -> None:
    chain_of(3)
    made = checkpoints.sign_head("tenant1")
    assert made is not None
    forged = {
        "statement": made.statement.replace('"sequence":3', '"sequence":2'),
        "signature": base64.b64encode(b"x" * 64).decode(),
        "hash": "0" * 64,
        "sequence": 2,
    }[column]
    AuditCheckpoint.objects.update(**{column: forged})

    assert broken()[0] is BreakKind.FORGED


def test_chain_that_lost_what_was_signed_gets_no_new_checkpoint() -> None:
    chain_of(4)
    checkpoints.sign_head("tenant1")
    cut(2)
    AuditCheckpoint.objects.all().delete()
    chain_of(1)

    with pytest.raises(checkpoints.ChainDiffers):
        checkpoints.sign_head("tenant1")
    assert checkpoints.sign_moved_heads() == 0
    with pytest.raises(CommandError, match="Verify the chain"):
        call_command("checkpoint_audit", stdout=StringIO())


# --- the folder -------------------------------------------------------------------------


def test_folder_that_cannot_be_written_loses_nothing(folder: Path) -> None:
    folder.parent.joinpath("checkpoints").write_text("a file where the folder should be")
    chain_of(1)
    assert checkpoints.sign_head("tenant1") is not None
    assert not checkpoints.is_newest_in_file("tenant1")
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1
    with pytest.raises(CommandError, match="not written outside"):
        call_command("checkpoint_audit", stdout=StringIO())

    folder.unlink()
    assert checkpoints.sign_moved_heads() == 0

    assert [json.loads(line["statement"])["sequence"] for line in lines()] == [1, 2]
    assert checkpoints.is_newest_in_file("tenant1")
    # What nobody signed is not believed to be there.
    path = checkpoint_files.file_of("tenant1")
    path.write_text(path.read_text().replace('"signature":"', '"signature":"AAAA'))
    assert not checkpoints.is_newest_in_file("tenant1")


def test_file_cut_short_by_a_crash_goes_on_in_a_new_line() -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    path = checkpoint_files.file_of("tenant1")
    os.truncate(path, path.stat().st_size - 20)
    chain_of(1)
    checkpoints.sign_head("tenant1")

    raw = path.read_text().splitlines()
    assert len(raw) == 3  # the torn one, the same again, the next
    holds = verify.verify("tenant1")
    assert isinstance(holds, verify.IntactChain)
    assert holds.vouched == 2
    assert len(holds.notes) == 1  # one checkpoint cannot be read


def test_checkpoint_slipped_into_the_table_is_not_written_outside() -> None:
    chain_of(1)
    AuditCheckpoint.objects.create(
        tenant_id="tenant1",
        sequence=10**9,
        hash="0" * 64,
        at=timezone.now(),
        key_id=signing.signing_key().key_id,
        statement="{}",
        signature="x",
    )

    checkpoints.sign_head("tenant1")

    assert [json.loads(line["statement"])["sequence"] for line in lines()] == [1]


@pytest.mark.django_db(transaction=True)
def test_checkpoints_made_at_once_are_one() -> None:
    chain_of(3)

    together([lambda: checkpoints.sign_head("tenant1") for _ in range(6)])

    assert AuditCheckpoint.objects.count() == 1
    assert len(lines()) == 1


# --- keys -------------------------------------------------------------------------------


def test_rotated_key_keeps_verifying_where_it_is_trusted(
    settings: Settings, tmp_path: Path
) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    kept = tmp_path / "keys"
    kept.mkdir()
    (kept / "2026.pem").write_text(signing.public_pem(signing.signing_key().public))
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()

    unknown = verify.verify("tenant1")
    assert isinstance(unknown, verify.IntactChain)
    assert unknown.vouched == 0

    settings.AUDIT_TRUSTED_KEYS = [str(kept)]
    known = verify.verify("tenant1")
    assert isinstance(known, verify.IntactChain)
    assert known.vouched == 2
    assert checkpoints.sign_head("tenant1") is not None  # the same head, by the new key


def test_chore_signs_each_chain_whose_head_moved() -> None:
    chain_of(2)

    assert checkpoints.sign_moved_heads() == 1
    assert checkpoints.sign_moved_heads() == 0
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1
    assert [row.sequence for row in AuditCheckpoint.objects.order_by("id")] == [2, 3]


def test_command_signs_and_says_so() -> None:
    chain_of(2)
    out = StringIO()

    call_command("checkpoint_audit", stdout=out)
    call_command("checkpoint_audit", stdout=out)

    assert "tenant1: record 2 signed by key" in out.getvalue()
    assert "tenant1: nothing new to sign" in out.getvalue()


def test_head_set_back_before_a_checkpoint_is_told_as_what_it_is() -> None:
    _, second, *_ = chain_of(4)
    checkpoints.sign_head("tenant1")
    AuditChain.objects.update(last_sequence=2, last_hash=second.hash)

    assert broken() == (BreakKind.INSERTED, 3)


def test_edited_record_of_a_checkpoint_is_told_as_edited() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    triggers.remove(connection)
    edited = AuditRecord.objects.get(sequence=3)
    edited.actor = "somebody else"
    edited.hash = record.hash_of(edited)
    edited.save()
    triggers.install(connection)

    assert broken() == (BreakKind.EDITED, 3)


def test_audit_page_needs_no_key(folder: Path, settings: Settings) -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    trusted = folder.parent / "trusted"
    trusted.mkdir()
    (trusted / "2027.pem").touch()
    settings.AUDIT_TRUSTED_KEYS = str(trusted)

    client = browser(factories.user("desk", role="viewer", is_staff=True))

    assert client.get("/admin/hitl/auditrecord/").status_code == 200


def test_key_is_printed_into_the_folder_of_trusted_keys(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = folder.parent / "trusted"
    trusted.mkdir()
    (trusted / "2027.pem").touch()  # as the shell makes it first
    settings.AUDIT_TRUSTED_KEYS = str(trusted)

    execute_from_command_line(["manage.py", "audit_key"])

    assert "PUBLIC KEY" in capsys.readouterr().out
