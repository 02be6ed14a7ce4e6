"""A chain is not exported where it does not hold, and no half file is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from hitl.audit import checkpoints, export_file, triggers, verify_export
from hitl.audit import export as audit_export
from hitl.audit.export_format import Format, Unreadable
from hitl.errors import ChainBroken
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from tests import factories
from tests.integration.audit.exports import exported, hourly, keys
from tests.integration.audit.signed_chains import cut
from tests.integration.audit.strays import fitting_stray, stray_behind_head
from tests.integration.chains import NOON, chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def remove(*sequences: int) -> None:
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence__in=sequences).delete()
    triggers.install(connection)


def edit(sequence: int) -> None:
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence=sequence).update(actor="x")
    triggers.install(connection)


def truncate(*, keeps_rows: bool = True) -> None:
    checkpoints.sign_head("tenant1")
    cut(3)
    if not keeps_rows:
        AuditCheckpoint.objects.all().delete()


def set_head_back() -> None:
    record = AuditRecord.objects.get(sequence=3)
    AuditChain.objects.update(last_sequence=3, last_hash=record.hash)


# What was done to five records, and the first number that does not hold.
BEFORE_THE_FIRST_BYTE: dict[str, tuple[Callable[[], object], int]] = {
    "record-behind-the-head": (stray_behind_head, 6),
    "record-far-behind-the-head": (lambda: stray_behind_head(by=1000), 6),
    "fitting-record-behind-the-head": (fitting_stray, 6),
    "head-set-back": (set_head_back, 4),
    "head-removed": (lambda: AuditChain.objects.all().delete(), 1),
    "head-of-another-record": (lambda: AuditChain.objects.update(last_hash="ab" * 32), 5),
    "truncated": (truncate, 4),
    "truncated-and-vouched-for-by-a-file-alone": (lambda: truncate(keeps_rows=False), 4),
}


@pytest.mark.parametrize("name", BEFORE_THE_FIRST_BYTE)
def test_export_is_refused_before_its_first_byte_and_its_record(tmp_path: Path, name: str) -> None:
    tamper, at = BEFORE_THE_FIRST_BYTE[name]
    chain_of(5)
    tamper()
    path = tmp_path / "out.zip"

    with pytest.raises(ChainBroken) as raised:
        audit_export.begin(factories.actor(), Format.JSONL)
    with pytest.raises(CommandError, match=f"out.zip was not written: .* record {at},"):
        call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())

    assert raised.value.sequence == at
    assert not path.exists()
    assert not AuditRecord.objects.filter(event="audit:exported").exists()


# What was done to five records, and the first number that does not hold.
MIDWAY: dict[str, tuple[Callable[[], object], int]] = {
    "one-changed": (lambda: edit(4), 4),
    "one-missing": (lambda: remove(3), 3),
    "several-missing": (lambda: remove(2, 4), 2),
    "first-missing": (lambda: remove(1), 1),
}


@pytest.mark.parametrize("name", MIDWAY)
def test_export_that_meets_a_break_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(export_file, "_BATCH_SIZE", 2)
    tamper, at = MIDWAY[name]
    chain_of(5)
    tamper()
    path = tmp_path / "out.zip"

    with pytest.raises(CommandError, match=f"does not hold at record {at}"):
        call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())

    assert not path.exists()


@pytest.mark.parametrize("change", [edit, remove])
def test_export_that_meets_a_break_midway_yields_no_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Callable[[int], None]
) -> None:
    monkeypatch.setattr(export_file, "_BATCH_SIZE", 2)
    chain_of(5)
    export = audit_export.begin(factories.actor(), Format.CSV)
    change(5)  # after the checks
    sent: list[bytes] = []

    with pytest.raises(ChainBroken, match="record 5"):
        sent.extend(export_file.zip_chunks(export))

    path = tmp_path / "out.zip"
    path.write_bytes(b"".join(sent))
    assert path.stat().st_size > 0
    with pytest.raises(Unreadable, match="not a whole ZIP file"):
        verify_export.verify(path, keys())


def test_records_before_a_break_are_exported(tmp_path: Path) -> None:
    hourly(6)
    remove(5)
    path = tmp_path / "out.zip"

    exported(path, until=NOON + timedelta(hours=3))

    assert verify_export.verify(path, keys()).manifest["records"] == 4


def test_command_leaves_no_file_whatever_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"

    def interrupt(_export: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_file, "_describe", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())

    assert not path.exists()
