"""Exports: what is in them, that they verify anywhere, and that nothing done to them passes."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from hitl.audit import checkpoints, export_file, verify_export
from hitl.audit import export as audit_export
from hitl.audit import record as audit_record
from hitl.audit.export_format import Format
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.audit.exports import exported, hourly, keys
from tests.integration.chains import NOON, chain_of, record
from tests.people import OUTSIDER

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


@pytest.mark.parametrize("form", Format)
def test_export_of_a_chain_verifies(tmp_path: Path, form: Format) -> None:
    *_, last = chain_of(7)
    checkpoints.sign_head("tenant1")
    path = tmp_path / "out.zip"

    exported(path, form)

    export = verify_export.verify(path, keys())
    assert (export.is_key_known, export.vouched) == (True, 7)
    manifest = export.manifest
    assert (manifest["tenant"], manifest["records"], manifest["lastHash"]) == (
        "tenant1",
        7,
        last.hash,
    )
    assert (manifest["firstSequence"], manifest["lastSequence"]) == (1, 7)
    assert manifest["createdBy"] == "approver1"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(
            [f"records.{form.value}", "manifest.json", "manifest.sig"]
        )
        assert archive.testzip() is None


def test_export_covers_one_stretch_of_the_chain_in_a_range_of_time(tmp_path: Path) -> None:
    hourly(6)
    path = tmp_path / "out.zip"

    exported(path, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))

    manifest = verify_export.verify(path, keys()).manifest
    assert (manifest["firstSequence"], manifest["lastSequence"], manifest["records"]) == (2, 4, 3)


def test_export_of_nothing_verifies(tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    exported(path)

    assert verify_export.verify(path, keys()).manifest["records"] == 0


def test_export_holds_nothing_of_another_tenant(tmp_path: Path) -> None:
    chain_of(2)
    record(OUTSIDER, session_id="foreign-secret")
    path = tmp_path / "out.zip"
    exported(path)

    with zipfile.ZipFile(path) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"foreign-secret" not in everything
    assert b"tenant2" not in everything


def test_export_is_audited_before_its_first_byte() -> None:
    chain_of(3)

    export = audit_export.begin(factories.actor(), Format.CSV)

    entry = AuditRecord.objects.get(event="audit:exported")
    assert (entry.sequence, entry.actor) == (4, "approver1")
    details = json.loads(entry.details)
    assert (details["format"], details["firstSequence"], details["lastSequence"]) == ("csv", 1, 3)
    assert export.last == 3  # not the record of itself


def test_cells_of_a_csv_are_no_formulas(tmp_path: Path) -> None:
    hourly(1)
    path = tmp_path / "out.zip"
    exported(path, Format.CSV)

    with zipfile.ZipFile(path) as archive:
        assert b",'=cmd|" in archive.read("records.csv")
    assert verify_export.verify(path, keys()).manifest["records"] == 1


# --- the commands -----------------------------------------------------------------------


def test_commands_export_and_verify(tmp_path: Path) -> None:
    chain_of(3)
    path, public = tmp_path / "out.zip", tmp_path / "key.pem"
    out = StringIO()
    call_command("audit_key", stdout=out, stderr=StringIO())
    public.write_text(out.getvalue())

    call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())
    printed = StringIO()
    call_command("verify_export", str(path), "--public-key", str(public), stdout=printed)

    assert "3 records, 1 to 3" in printed.getvalue()
    assert "It holds. Signed by the key you named" in printed.getvalue()
    with pytest.raises(CommandError) as ended:
        call_command("verify_export", str(path), stdout=StringIO())
    assert ended.value.returncode == 2
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CommandError, match="cut short") as ended:
        call_command("verify_export", str(path), stdout=StringIO())
    assert ended.value.returncode == 1


def test_export_command_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    path.write_text("mine")

    with pytest.raises(CommandError, match="cannot be made"):
        call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())

    assert path.read_text() == "mine"
    assert not AuditRecord.objects.exists()


# --- size -------------------------------------------------------------------------------


def many(count: int) -> None:
    """Put a chain of `count` records into the table at once."""
    previous, entries = audit_record.GENESIS, []
    for sequence in range(1, count + 1):
        entry = AuditRecord(
            tenant_id="tenant1",
            sequence=sequence,
            event="session:refused",
            actor="user123",
            actor_kind="user",
            channel="rest",
            at=NOON + timedelta(seconds=sequence),
            form=2,
            user_agent=sha256(str(sequence).encode()).hexdigest() * 3,  # compresses badly
            previous_hash=previous,
        )
        entry.hash = previous = audit_record.hash_of(entry)
        entries.append(entry)
    AuditRecord.objects.bulk_create(entries, batch_size=500)
    AuditChain.objects.create(tenant_id="tenant1", last_sequence=count, last_hash=previous)


@pytest.mark.timeout(600)
def test_export_grows_neither_with_the_chain_nor_reads_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "_BATCH_SIZE", 100)
    many(6000)
    peaks, reads = [], []
    total = largest = 0

    for last in (500, 6000):
        export = audit_export.begin(
            factories.actor(), Format.JSONL, until=NOON + timedelta(seconds=last)
        )
        total = largest = 0
        with CaptureQueriesContext(connection) as queries:
            tracemalloc.start()
            for piece in export_file.zip_chunks(export):
                total, largest = total + len(piece), max(largest, len(piece))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        reads.append(sum("hitl_auditrecord" in query["sql"] for query in queries))

    assert reads == [5, 60]
    assert largest < total / 10  # sent as it is made
    # Twelve times the records. Without streaming this would be twelve times the memory.
    assert peaks[1] < 2 * peaks[0]


@pytest.mark.parametrize("hours", [-1000, 1000])
def test_export_without_an_end_is_whole_though_a_clock_was_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(audit_export, "_MAX_DISORDER", 2)
    hourly(4)
    with transaction.atomic():
        at = NOON + timedelta(hours=hours)
        audit_record.write(AuditEvent.SESSION_REFUSED, factories.actor(), at)
    hourly(6)
    path = tmp_path / "out.zip"

    exported(path)

    manifest = verify_export.verify(path, keys()).manifest
    assert (manifest["firstSequence"], manifest["lastSequence"]) == (1, 11)
