"""A chain is walked to its head, and its length, its head and its checkpoints are reported."""

from __future__ import annotations

import base64
import json
import math
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from hitl import metrics
from hitl.audit import checkpoint_files, checkpoints, signing, triggers, verify
from hitl.audit import record as audit_record
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.models import AuditCheckpoint, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.chains import NOON, chain_of, record
from tests.people import OUTSIDER, Person

CHECKOUT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_verify_of_an_untouched_chain_returns_its_length_and_head() -> None:
    *_, last = chain_of(5)

    holds = verify.verify("tenant1")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.head, holds.vouched) == (5, last.hash, 0)
    assert len(holds.notes) == 1  # no checkpoint vouches for it


def test_verify_of_an_empty_chain_holds() -> None:
    holds = verify.verify("nobody")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.head) == (0, audit_record.GENESIS)


def test_verify_reads_in_batches_and_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_BATCH_SIZE", 2)
    chain_of(5)
    progress: list[tuple[int, int]] = []

    holds = verify.verify("tenant1", progress=lambda done, of: progress.append((done, of)))

    assert isinstance(holds, verify.IntactChain)
    assert progress == [(2, 5), (4, 5), (5, 5)]


def test_verify_returns_the_last_record_a_checkpoint_vouches_for() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)

    holds = verify.verify("tenant1", now=NOON)

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.vouched, holds.notes) == (5, 3, ())


# --- the verdict, and what the command ends with ------------------------------------------


def verdict(now: datetime | None = None) -> str:
    result = verify.as_json(verify.verify("tenant1", now=now))
    return str(result["verdict"])


def ended_with(*words: str) -> tuple[int, str]:
    """Run the command; return what it ends with and all that it prints."""
    out = StringIO()
    try:
        call_command("verify_audit", *words, stdout=out)
    except CommandError as exc:
        return exc.returncode, f"{out.getvalue()}{exc}"
    return 0, out.getvalue()


def is_whole() -> bool:
    return verdict() == "whole" and ended_with()[0] == 0


def test_records_of_two_intervals_need_no_signature_and_older_ones_do() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(1)

    assert verdict(NOON + 2 * checkpoints.INTERVAL) == "whole"
    assert verdict(NOON + 2 * checkpoints.INTERVAL + timedelta(microseconds=1)) == "unvouched"

    code, text = ended_with()
    assert (code, "older records of tenant1" in text) == (3, True)
    assert "Records after 3 are older than two hours" in text
    checkpoints.sign_head("tenant1")
    assert is_whole()


def test_old_record_behind_a_young_one_needs_a_signature() -> None:
    with transaction.atomic():
        future = timezone.now() + timedelta(days=365)
        audit_record.write(AuditEvent.SESSION_REFUSED, factories.actor(), future)
    chain_of(1)

    assert verdict() == "unvouched"


@pytest.mark.parametrize("columns", [{"key_id": "0" * 16}, {"signature": "x"}, {}])
def test_chain_that_no_trusted_key_signed_is_not_vouched_for(columns: dict[str, str]) -> None:
    *_, last = chain_of(2)
    statement = CheckpointStatement("tenant1", 2, last.hash, "2026-01-16", "0" * 16)
    AuditCheckpoint.objects.create(
        **{
            "tenant_id": "tenant1",
            "sequence": 2,
            "hash": last.hash,
            "at": NOON,
            "key_id": statement.key_id,
            "statement": statement.text,
            "signature": "",
            **columns,
        }
    )

    assert ended_with()[0] == 3


def test_key_replaced_without_trusting_its_old_one_ends_with_3(
    settings: Settings, tmp_path: Path
) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    old = tmp_path / "old.pem"
    old.write_text(signing.public_pem(signing.signing_key().public))
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()

    assert ended_with()[0] == 3
    settings.AUDIT_TRUSTED_KEYS = [str(old)]
    assert is_whole()


def gone(path: Path) -> None:
    shutil.rmtree(path.parent)


def emptied(path: Path) -> None:
    path.write_text("")


def unreadable(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file in the place of the folder")


def a_link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


@pytest.mark.parametrize("change", [gone, emptied, unreadable, a_link])
@pytest.mark.parametrize("is_young", [True, False])
def test_checkpoints_outside_that_cannot_be_read_end_with_3(
    change: Callable[[Path], None], is_young: bool
) -> None:
    if is_young:
        factories.opened()
    else:
        chain_of(2)
    checkpoints.sign_head("tenant1")
    assert is_whole()

    change(checkpoint_files.file_of("tenant1"))

    code, text = ended_with()
    assert code == 3, text
    assert "outside the database" in text
    assert checkpoints.sign_moved_heads() == 0  # the chore does not cover it up
    assert ended_with()[0] == 3


def test_loss_that_was_accepted_is_whole_again() -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    gone(checkpoint_files.file_of("tenant1"))

    call_command("checkpoint_audit", "--rewrite-files", stdout=StringIO())

    assert is_whole()


def test_checkpoints_removed_from_the_database_alone_end_with_3() -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    chain_of(1)
    checkpoints.sign_head("tenant1")
    AuditCheckpoint.objects.filter(sequence=1).delete()

    code, text = ended_with()

    assert code == 3
    assert "The database lacks 1 checkpoints that the files have." in text


def test_break_counts_more_than_what_could_not_be_verified_and_that_more_than_what_is_unsigned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain_of(2)
    record(OUTSIDER)
    record(Person("other", "tenant3", "user"))
    walk = verify.verify

    def failing(tenant_id: str) -> object:
        if tenant_id == "tenant2":
            raise OSError("the disk is gone")
        return walk(tenant_id)

    monkeypatch.setattr(verify, "verify", failing)
    code, text = ended_with()
    assert code == 2
    assert "tenant2: It could not be verified: OSError: the disk is gone" in text
    assert "tenant3: 1 records hold" in text

    triggers.remove(connection)
    AuditRecord.objects.filter(tenant_id="tenant3").update(actor="x")
    triggers.install(connection)
    code, text = ended_with("--json")
    assert code == 1
    chains = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [(each["tenant"], each["holds"], each["verdict"]) for each in chains] == [
        ("tenant1", True, "unvouched"),
        ("tenant2", None, "unchecked"),
        ("tenant3", False, "broken"),
    ]


def test_tenant_without_a_chain_ends_with_2() -> None:
    chain_of(1)

    assert ended_with("--tenant", "tenant-1") == (2, "There is no chain of tenant tenant-1.")
    code, text = ended_with("--tenant", "")
    assert (code, text.splitlines()[-1]) == (0, "Every chain holds: 0 records.")


# --- the metric ---------------------------------------------------------------------------


def unvouched_seconds() -> float:
    [metric] = metrics.unvouched_seconds.collect()
    return metric.samples[0].value


@pytest.mark.parametrize(
    "look", [checkpoints.measure_unvouched, lambda: verify.verify("tenant1")], ids=["clock", "walk"]
)
def test_age_of_what_no_checkpoint_vouches_for_is_a_metric(
    look: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_unvouched", {})
    assert math.isnan(unvouched_seconds())
    chain_of(2)
    age = (timezone.now() - NOON).total_seconds()

    look()
    assert unvouched_seconds() == pytest.approx(age, abs=60)
    checkpoints.sign_head("tenant1")
    look()
    assert unvouched_seconds() == 0
    chain_of(1)
    gone(checkpoint_files.file_of("tenant1"))
    look()
    assert unvouched_seconds() == pytest.approx(age, abs=60)


def test_chore_sets_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_unvouched", {})
    chain_of(2)

    checkpoints.sign_moved_heads()

    assert unvouched_seconds() == 0
