"""The key that signs, where it comes from, and what is said when it cannot be used."""

from __future__ import annotations

import base64
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as configured
from pytest_django import Settings

from hitl import checks
from hitl.audit import signing
from hitl.audit.signing import Trust

SEED = base64.b64encode(b"s" * 32).decode()


def test_key_is_generated_owner_only_and_stays(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.AUDIT_SIGNING_KEY = settings.AUDIT_SIGNING_KEY_FILE = ""

    first = signing.signing_key()

    path = tmp_path / "audit_signing_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    signing._signing_key.cache_clear()
    assert signing.signing_key().public == first.public


def test_key_id_is_the_beginning_of_the_public_keys_digest(settings: Settings) -> None:
    settings.AUDIT_SIGNING_KEY = SEED
    key = signing.signing_key()

    assert key.key_id == sha256(key.public).hexdigest()[:16]


def test_same_key_is_read_from_seed_pem_and_file(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    generated = signing.signing_key()
    pem = (tmp_path / "audit_signing_key").read_text()

    settings.AUDIT_SIGNING_KEY = pem.strip().replace("\n", "\\n")
    assert signing.signing_key().public == generated.public
    settings.AUDIT_SIGNING_KEY = base64.b64encode(generated.private.private_bytes_raw()).decode()
    assert signing.signing_key().public == generated.public
    settings.AUDIT_SIGNING_KEY = ""
    settings.AUDIT_SIGNING_KEY_FILE = str(tmp_path / "audit_signing_key")
    assert signing.signing_key().public == generated.public


@pytest.mark.parametrize("text", ["x", "YWJj", "-----BEGIN PRIVATE KEY-----\nx\n", "가"])
def test_unusable_key_is_refused_without_being_shown(settings: Settings, text: str) -> None:
    settings.AUDIT_SIGNING_KEY = text

    [complaint] = checks.audit_can_be_signed()

    assert complaint.id == "hitl.E002"
    assert "AUDIT_SIGNING_KEY holds no Ed25519 key" in complaint.msg
    assert text not in complaint.msg.replace("AUDIT_SIGNING_KEY", "")[:20] or text == "x"


def test_two_keys_and_a_missing_file_are_refused(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY_FILE = str(tmp_path / "none")
    [complaint] = checks.audit_can_be_signed()
    assert "cannot be read" in complaint.msg
    settings.AUDIT_SIGNING_KEY = SEED
    [complaint] = checks.audit_can_be_signed()
    assert "both set" in complaint.msg


def test_key_file_that_everybody_reads_is_warned_of(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(SEED)
    path.chmod(0o644)
    settings.AUDIT_SIGNING_KEY_FILE = str(path)

    assert [complaint.id for complaint in checks.audit_can_be_signed()] == ["hitl.W002"]
    path.chmod(0o600)
    assert checks.audit_can_be_signed() == []


def test_trusted_keys_come_from_files_and_folders(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY = SEED
    old = signing.signing_key()
    (tmp_path / "old.pem").write_text(signing.public_pem(old.public))
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()
    new = signing.signing_key()
    assert set(signing.trusted_keys()) == {new.key_id}

    for named in (tmp_path, tmp_path / "old.pem"):
        settings.AUDIT_TRUSTED_KEYS = [str(named)]
        assert signing.trusted_keys() == {old.key_id: old.public, new.key_id: new.public}


def test_trusted_key_of_another_kind_is_refused(settings: Settings, tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048).public_key()
    (tmp_path / "rsa.pem").write_bytes(
        rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    settings.AUDIT_TRUSTED_KEYS = [str(tmp_path)]

    [complaint] = checks.audit_can_be_signed()

    assert "rsa.pem holds no Ed25519 public key" in complaint.msg


def test_trust_in_a_signature_depends_on_the_key_it_names(settings: Settings) -> None:
    settings.AUDIT_SIGNING_KEY = SEED
    key = signing.signing_key()
    signature, keys = key.sign(b"said"), {key.key_id: key.public}

    assert signing.signature_trust(key.key_id, b"said", signature, keys) is Trust.KNOWN
    assert signing.signature_trust(key.key_id, b"other", signature, keys) is Trust.FORGED
    assert signing.signature_trust(key.key_id, b"said", "no base64!", keys) is Trust.FORGED
    assert signing.signature_trust("other", b"said", signature, keys) is Trust.UNKNOWN


def test_generated_key_is_warned_of_where_it_is_deployed(settings: Settings) -> None:
    assert configured.AUDIT_SIGNING_KEY == ""
    assert [warning.id for warning in checks.audit_key_is_named()] == ["hitl.W001"]
    settings.AUDIT_SIGNING_KEY = SEED
    assert checks.audit_key_is_named() == []
