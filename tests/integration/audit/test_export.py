"""Exports: what is in them, that they verify anywhere, and that nothing done to them passes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.jsontext import canonical
from hitl.audit import checkpoints, signing, verify_export
from hitl.audit import export as audit_export
from hitl.audit import record as audit_record
from hitl.audit.export_format import Format, Unreadable
from hitl.models import AuditChain, AuditRecord
from hitl.states import ActorKind, AuditEvent
from tests import factories
from tests.integration.chains import NOON, chain_of, record
from tests.people import APPROVER, OUTSIDER

pytestmark = pytest.mark.django_db
CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _own_key_and_folder(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()


def hourly(count: int) -> None:
    """Append records an hour apart, from NOON on."""
    for hour in range(count):
        with transaction.atomic():
            audit_record.write(
                AuditEvent.SESSION_REFUSED,
                factories.actor(),
                NOON + timedelta(hours=hour),
                session_id="=cmd|' /C calc'!A0",
            )


def exported(path: Path, form: Format = Format.JSONL, **span: object) -> audit_export.Export:
    actor = factories.actor(APPROVER, kind=ActorKind.OPERATOR)
    export = audit_export.begin(actor, form, **span)  # type: ignore[arg-type]
    path.write_bytes(b"".join(audit_export.zip_chunks(export)))
    return export


def keys() -> dict[str, bytes]:
    return signing.trusted_keys()


@pytest.mark.parametrize("form", Format)
def test_export_of_a_chain_verifies(tmp_path: Path, form: Format) -> None:
    *_, last = chain_of(7)
    checkpoints.sign_head("tenant1")
    path = tmp_path / "out.zip"

    exported(path, form)

    found = verify_export.verify(path, keys())
    assert (found.is_key_known, found.vouched) == (True, 7)
    told = found.manifest
    assert (told["tenant"], told["records"], told["lastHash"]) == ("tenant1", 7, last.hash)
    assert (told["firstSequence"], told["lastSequence"]) == (1, 7)
    assert told["createdBy"] == "approver1"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(
            [f"records.{form.value}", "manifest.json", "manifest.sig"]
        )
        assert archive.testzip() is None


def test_export_covers_one_stretch_of_the_chain_in_a_range_of_time(tmp_path: Path) -> None:
    hourly(6)
    path = tmp_path / "out.zip"

    exported(path, since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))

    told = verify_export.verify(path, keys()).manifest
    assert (told["firstSequence"], told["lastSequence"], told["records"]) == (2, 4, 3)


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
    told = json.loads(entry.details)
    assert (told["format"], told["firstSequence"], told["lastSequence"]) == ("csv", 1, 3)
    assert export.last == 3  # not the record of itself


def test_cells_of_a_csv_are_no_formulas(tmp_path: Path) -> None:
    hourly(1)
    path = tmp_path / "out.zip"
    exported(path, Format.CSV)

    with zipfile.ZipFile(path) as archive:
        assert b",'=cmd|" in archive.read("records.csv")
    assert verify_export.verify(path, keys()).manifest["records"] == 1


# --- what was done to a file ------------------------------------------------------------


def rewritten(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Write the file again, as a whole ZIP, with one member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for each, raw in members.items():
            archive.writestr(each, raw)


def signed_anew(path: Path, records: bytes) -> None:
    """Replace the records and make digest and signature fit, by some other key."""
    other = signing._signing_key(base64.b64encode(b"o" * 32).decode(), "", "")
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("manifest.json"))
    told |= {
        "sha256": sha256(records).hexdigest(),
        "keyId": other.key_id,
        "publicKey": base64.b64encode(other.public).decode(),
        "checkpoints": [],
    }
    manifest = canonical(told).encode()
    rewritten(path, "records.jsonl", lambda raw: records)
    rewritten(path, "manifest.json", lambda raw: manifest)
    rewritten(path, "manifest.sig", lambda raw: other.sign(manifest).encode())


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("manifest.json", lambda raw: raw.replace(b"approver1", b"approver2"), "signature"),
        ("manifest.sig", lambda raw: b"A" * 88, "signature"),
        ("records.jsonl", lambda raw: raw.replace(b"session-3", b"session-9"), "record 3 does not"),
        ("records.jsonl", lambda raw: b"".join(raw.splitlines(True)[:-1]), "4 records"),
        ("records.jsonl", lambda raw: b"".join(raw.splitlines(True)[1:]), "record 1 is missing"),
        ("records.jsonl", lambda raw: raw + raw.splitlines(True)[-1], "record 6 is missing"),
        ("records.jsonl", lambda raw: raw + b"\n", "no JSON"),
        ("records.jsonl", lambda raw: raw.replace(b'"actor"', b' "actor"'), "digest differs"),
    ],
)
def test_changed_file_is_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], why: str
) -> None:
    chain_of(5)
    path = tmp_path / "out.zip"
    exported(path)
    rewritten(path, name, change)

    with pytest.raises(Unreadable, match=why):
        verify_export.verify(path, keys())


def test_file_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    chain_of(30)
    path = tmp_path / "out.zip"
    exported(path)
    raw = path.read_bytes()

    for kept in (0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 30, len(raw) - 1):
        path.write_bytes(raw[:kept])
        with pytest.raises(Unreadable):
            verify_export.verify(path, keys())


def test_flipped_bits_never_pass(tmp_path: Path) -> None:
    chain_of(5)
    path = tmp_path / "out.zip"
    exported(path)
    raw = path.read_bytes()
    whole = verify_export.verify(path, keys()).manifest

    for at in range(0, len(raw), 7):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :])
        try:
            found = verify_export.verify(path, keys()).manifest
        except (Unreadable, ValueError, OSError):
            continue
        assert found == whole  # a time stamp or a mode of the ZIP itself


def test_file_signed_by_somebody_else_is_known_as_such(tmp_path: Path) -> None:
    chain_of(3)
    path = tmp_path / "out.zip"
    exported(path)
    with zipfile.ZipFile(path) as archive:
        raw = archive.read("records.jsonl")
    signed_anew(path, raw)

    assert not verify_export.verify(path, keys()).is_key_known


def test_records_made_up_whole_are_not_those_a_checkpoint_vouches_for(tmp_path: Path) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    path = tmp_path / "out.zip"
    exported(path)

    def forge(raw: bytes) -> bytes:
        told = json.loads(raw)
        told["checkpoints"][0]["statement"] = told["checkpoints"][0]["statement"].replace(
            '"sequence":2', '"sequence":1'
        )
        return canonical(told).encode()

    rewritten(path, "manifest.json", forge)
    with zipfile.ZipFile(path) as archive:
        manifest = archive.read("manifest.json")
    signature = signing.signing_key().sign(manifest).encode()
    rewritten(path, "manifest.sig", lambda raw: signature)

    with pytest.raises(Unreadable, match="checkpoint 1"):
        verify_export.verify(path, keys())


# --- the commands -----------------------------------------------------------------------


def test_commands_export_and_verify(tmp_path: Path) -> None:
    chain_of(3)
    path, public = tmp_path / "out.zip", tmp_path / "key.pem"
    out = StringIO()
    call_command("audit_key", stdout=out, stderr=StringIO())
    public.write_text(out.getvalue())

    call_command("export_audit", str(path), "--tenant", "tenant1", stdout=StringIO())
    told = StringIO()
    call_command("verify_export", str(path), "--public-key", str(public), stdout=told)

    assert "3 records, 1 to 3" in told.getvalue()
    assert "It holds. Signed by the key you named" in told.getvalue()
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


@pytest.mark.timeout(600)
def test_verify_export_needs_no_database(tmp_path: Path) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"
    exported(path)
    alone = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "DATA_DIR": str(tmp_path / "elsewhere"),
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }

    done = subprocess.run(
        [sys.executable, "manage.py", "verify_export", str(path)],
        cwd=CHECKOUT,
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "It holds in itself" in done.stdout


# --- size -------------------------------------------------------------------------------


def many(count: int) -> None:
    """Put a chain of `count` records into the table at once."""
    previous, made = audit_record.GENESIS, []
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
        made.append(entry)
    AuditRecord.objects.bulk_create(made, batch_size=500)
    AuditChain.objects.create(tenant_id="tenant1", last_sequence=count, last_hash=previous)


@pytest.mark.timeout(600)
def test_export_grows_neither_with_the_chain_nor_reads_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_export, "_BATCH_SIZE", 100)
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
            for piece in audit_export.zip_chunks(export):
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

    told = verify_export.verify(path, keys()).manifest
    assert (told["firstSequence"], told["lastSequence"]) == (1, 11)


@pytest.mark.parametrize(
    ("sequence", "why"), [(3, "not go to the head"), (1, "from the beginning")]
)
def test_export_that_is_less_than_it_says_does_not_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sequence: int, why: str
) -> None:
    chain_of(3)
    path = tmp_path / "out.zip"
    span = (2, 3) if sequence == 1 else (1, 2)
    monkeypatch.setattr(audit_export, "_span", lambda *_: span)
    exported(path)

    with pytest.raises(Unreadable, match=why):
        verify_export.verify(path, keys())
