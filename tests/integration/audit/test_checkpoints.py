"""Signed checkpoints: stored in two places, and what they find that a chain cannot."""

from __future__ import annotations

import base64
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, execute_from_command_line
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from hitl.audit import checkpoint_trust, checkpoints, signing
from hitl.models import AuditChain, AuditCheckpoint
from tests import factories
from tests.integration.audit.signed_chains import cut, lines
from tests.integration.calls import browser
from tests.integration.chains import NOON, chain_of
from tests.integration.threads import together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_checkpoint_is_a_signed_statement_of_the_head() -> None:
    *_, last = chain_of(3)

    checkpoint = checkpoints.sign_head("tenant1", now=NOON)

    assert checkpoint is not None
    assert json.loads(checkpoint.statement) == {
        "form": 1,
        "tenant": "tenant1",
        "sequence": 3,
        "hash": last.hash,
        "at": "2026-01-16T12:00:00.123456+00:00",
        "keyId": signing.signing_key().key_id,
    }
    public = signing.signing_key().public
    assert signing.is_signed_by(public, checkpoint.statement.encode(), checkpoint.signature)
    assert not signing.is_signed_by(
        public, checkpoint.statement.encode() + b" ", checkpoint.signature
    )
    assert lines() == [{"statement": checkpoint.statement, "signature": checkpoint.signature}]


def test_checkpoint_of_a_head_that_did_not_move_is_not_made_again() -> None:
    assert checkpoints.sign_head("tenant1") is None
    chain_of(2)
    assert checkpoints.sign_head("tenant1") is not None
    assert checkpoints.sign_head("tenant1") is None
    assert len(lines()) == 1


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


def test_chore_signs_each_chain_whose_head_moved() -> None:
    chain_of(2)

    assert checkpoints.sign_moved_heads() == 1
    assert checkpoints.sign_moved_heads() == 0
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1
    assert [row.sequence for row in AuditCheckpoint.objects.order_by("id")] == [2, 3]


@pytest.mark.parametrize("ahead", [0, 10**9])
def test_checkpoint_by_an_unknown_key_does_not_keep_the_chore_from_signing(ahead: int) -> None:
    *_, last = chain_of(2)
    unknown = base64.b64encode(b"u" * 32).decode()
    with (
        override_settings(AUDIT_SIGNING_KEY=unknown, AUDIT_CHECKPOINT_DIR="/dev/null"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(checkpoints, "_check_records_are_signed", lambda *_, **__: None)
        checkpoints.sign_head("tenant1")
        AuditCheckpoint.objects.update(sequence=2 + ahead)

    assert checkpoints.sign_moved_heads() == 1
    assert checkpoints.sign_moved_heads() == 0

    newest = checkpoint_trust.newest_row("tenant1")
    assert newest is not None
    assert (newest.sequence, newest.hash) == (2, last.hash)
    assert checkpoints.is_newest_in_file("tenant1")
    page = browser(factories.user("desk", role="viewer", is_staff=True))
    assert newest.key_id in page.get("/admin/hitl/auditrecord/").content.decode()


@pytest.mark.parametrize("ahead", [0, 10**9])
def test_checkpoint_with_a_bad_signature_does_not_keep_the_chore_quiet(
    ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    AuditCheckpoint.objects.create(
        tenant_id="tenant1",
        sequence=4 + ahead,
        hash="0" * 64,
        at=timezone.now(),
        key_id=signing.signing_key().key_id,
        statement=AuditCheckpoint.objects.get().statement,
        signature=AuditCheckpoint.objects.get().signature,
    )

    assert checkpoints.sign_moved_heads() == (1 if ahead else 0)

    # The forged row takes the place of the true one: that is said each time.
    assert ("checkpoint_refused" in caplog.text) == (not ahead)
    with pytest.raises(CommandError):
        call_command("verify_audit", stdout=StringIO())
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1


def test_head_set_back_to_a_signed_record_is_refused_by_the_chore(
    caplog: pytest.LogCaptureFixture,
) -> None:
    *_, second = chain_of(2)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    checkpoints.sign_head("tenant1")
    AuditChain.objects.update(last_sequence=2, last_hash=second.hash)

    assert checkpoints.sign_moved_heads() == 0
    assert "checkpoint_refused" in caplog.text


def test_command_prints_what_it_signed() -> None:
    chain_of(2)
    out = StringIO()

    call_command("checkpoint_audit", stdout=out)
    call_command("checkpoint_audit", stdout=out)

    assert "tenant1: record 2 signed by key" in out.getvalue()
    assert "tenant1: nothing new to sign" in out.getvalue()


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
    logs_reset: None, folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = folder.parent / "trusted"
    trusted.mkdir()
    (trusted / "2027.pem").touch()  # as the shell makes it first
    settings.AUDIT_TRUSTED_KEYS = str(trusted)

    execute_from_command_line(["manage.py", "audit_key"])

    assert "PUBLIC KEY" in capsys.readouterr().out
