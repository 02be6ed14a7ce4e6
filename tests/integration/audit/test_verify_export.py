"""An exported file is verified by itself, and nothing done to it passes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from dwp_project.jsontext import canonical
from hitl.audit import checkpoints, signing, verify_export
from hitl.audit import export as audit_export
from hitl.audit.export_format import Unreadable
from tests.integration.audit.exports import exported, keys
from tests.integration.chains import chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]
CHECKOUT = Path(__file__).resolve().parents[3]


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
        manifest = json.loads(archive.read("manifest.json"))
    manifest |= {
        "sha256": sha256(records).hexdigest(),
        "keyId": other.key_id,
        "publicKey": base64.b64encode(other.public).decode(),
        "checkpoints": [],
    }
    raw = canonical(manifest).encode()
    rewritten(path, "records.jsonl", lambda raw: records)
    rewritten(path, "manifest.json", lambda _raw: raw)
    rewritten(path, "manifest.sig", lambda _raw: other.sign(raw).encode())


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

    for size in (0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 30, len(raw) - 1):
        path.write_bytes(raw[:size])
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
            manifest = verify_export.verify(path, keys()).manifest
        except (Unreadable, ValueError, OSError):
            continue
        assert manifest == whole  # a time stamp or a mode of the ZIP itself


def test_file_signed_by_another_key_is_reported_as_signed_by_an_unknown_one(tmp_path: Path) -> None:
    chain_of(3)
    path = tmp_path / "out.zip"
    exported(path)
    with zipfile.ZipFile(path) as archive:
        raw = archive.read("records.jsonl")
    signed_anew(path, raw)

    assert not verify_export.verify(path, keys()).is_key_known


def test_file_whose_checkpoint_was_changed_is_refused(tmp_path: Path) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    path = tmp_path / "out.zip"
    exported(path)

    def forge(raw: bytes) -> bytes:
        manifest = json.loads(raw)
        manifest["checkpoints"][0]["statement"] = manifest["checkpoints"][0]["statement"].replace(
            '"sequence":2', '"sequence":1'
        )
        return canonical(manifest).encode()

    rewritten(path, "manifest.json", forge)
    with zipfile.ZipFile(path) as archive:
        manifest = archive.read("manifest.json")
    signature = signing.signing_key().sign(manifest).encode()
    rewritten(path, "manifest.sig", lambda raw: signature)

    with pytest.raises(Unreadable, match="checkpoint 1"):
        verify_export.verify(path, keys())


@pytest.mark.parametrize(
    ("sequence", "why"), [(3, "not go to the head"), (1, "from the beginning")]
)
def test_file_with_fewer_records_than_its_manifest_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sequence: int, why: str
) -> None:
    chain_of(3)
    path = tmp_path / "out.zip"
    span = (2, 3) if sequence == 1 else (1, 2)
    monkeypatch.setattr(audit_export, "_span", lambda *_: span)
    exported(path)

    with pytest.raises(Unreadable, match=why):
        verify_export.verify(path, keys())


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
