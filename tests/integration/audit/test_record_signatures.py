"""Each record is signed when it is written, and one that nobody signed is found."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from hitl.audit import checkpoints, record_signatures, record_trust, signing, triggers, verify
from hitl.audit.checkpoints import ChainDiffers
from hitl.audit.diagnose import BreakKind
from hitl.audit.hashing import hash_of
from hitl.audit.signing import Trust
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from tests.integration.audit.signed_chains import broken, insert_record
from tests.integration.audit.strays import stray
from tests.integration.audit.tamperings import no_triggers
from tests.integration.chains import NOON, chain_of, record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]

TENANT = "tenant1"


def _another_key(settings: Settings) -> None:
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()


def test_every_record_is_signed_with_the_deployments_key() -> None:
    entry = record()

    key_id, _colon, signature = entry.signature.partition(":")

    key = signing.signing_key()
    assert (entry.form, key_id) == (3, key.key_id)
    assert signing.is_signed_by(key.public, entry.hash.encode("ascii"), signature)


def test_a_record_without_a_signature_breaks_the_chain_although_its_hashes_fit() -> None:
    chain_of(2)

    insert_record()

    assert broken() == (BreakKind.UNSIGNED, 3)


def test_a_record_with_another_records_signature_breaks_the_chain() -> None:
    first, _second = chain_of(2)

    insert_record(signature=first.signature)

    assert broken() == (BreakKind.UNSIGNED, 3)


def test_a_record_signed_by_an_unknown_key_breaks_a_chain_of_known_ones(settings: Settings) -> None:
    chain_of(2)
    own = settings.AUDIT_SIGNING_KEY

    _another_key(settings)
    record()
    settings.AUDIT_SIGNING_KEY = own

    assert broken() == (BreakKind.UNSIGNED, 3)


def test_records_of_a_key_that_was_replaced_are_noted_and_break_nothing(
    settings: Settings,
) -> None:
    chain_of(2)
    _another_key(settings)
    record()

    holds = verify.verify(TENANT)

    assert isinstance(holds, verify.IntactChain)
    assert any(note.startswith("2 records are signed by keys") for note in holds.notes)


def test_a_trusted_checkpoint_vouches_for_records_of_a_key_that_is_not_trusted_any_more(
    settings: Settings, tmp_path: Path
) -> None:
    chain_of(2)
    (tmp_path / "old.pem").write_text(signing.public_pem(signing.signing_key().public))
    _another_key(settings)
    settings.AUDIT_TRUSTED_KEYS = [str(tmp_path / "old.pem")]
    record()
    checkpoints.sign_head(TENANT)
    settings.AUDIT_TRUSTED_KEYS = []

    holds = verify.verify(TENANT)

    assert isinstance(holds, verify.IntactChain)
    assert (holds.vouched, holds.notes) == (3, ())
    assert all(record_trust.is_vouched_for(entry) for entry in AuditRecord.objects.all())
    AuditCheckpoint.objects.all().delete()
    believed = [record_trust.is_vouched_for(entry) for entry in AuditRecord.objects.all()]
    assert sorted(believed) == [False, False, True]


def test_start_warns_where_the_newest_record_is_by_a_key_that_is_not_trusted(
    settings: Settings,
) -> None:
    record()
    assert run_checks(databases=["default"]) == []
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"n" * 32).decode()

    [warning] = run_checks(databases=["default"])

    assert warning.id == "hitl.W003"
    record()
    assert run_checks(databases=["default"]) == []


def test_no_checkpoint_vouches_for_a_record_that_nobody_signed() -> None:
    chain_of(2)
    checkpoints.sign_head(TENANT)
    insert_record()

    with pytest.raises(ChainDiffers):
        checkpoints.sign_head(TENANT)

    assert broken() == (BreakKind.UNSIGNED, 3)


def test_the_version_before_may_write_for_a_day_after_the_first_signed_record() -> None:
    first = record()
    entry = insert_record(form=2)
    within, after = first.at + timedelta(hours=23), first.at + timedelta(hours=25)

    assert record_trust.is_vouched_for(entry, now=within)
    assert not record_trust.is_vouched_for(entry, now=after)


def test_an_unsigned_record_of_an_old_form_is_refused_whatever_time_it_bears() -> None:
    first = record()  # long ago: the day in which the version before may write is over
    insert_record(at=first.at, form=2)

    assert broken() == (BreakKind.UNSIGNED, 2)


def test_records_from_before_the_first_signed_one_need_no_signature() -> None:
    record()
    old = insert_record(form=2)
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence=1).delete()
    old.sequence, old.previous_hash = 1, "0" * 64
    old.hash = hash_of(old)
    old.save()
    AuditChain.objects.update(last_sequence=1, last_hash=old.hash)
    triggers.install(connection)
    record()

    assert isinstance(verify.verify(TENANT), verify.IntactChain)
    assert not record_trust.is_vouched_for(old)
    checkpoints.sign_head(TENANT)
    assert record_trust.is_vouched_for(old)


@pytest.mark.parametrize("sequence", [0, -1])
def test_no_record_before_the_first_is_believed(sequence: int) -> None:
    record()
    checkpoints.sign_head(TENANT)
    entry = stray(sequence, fits=True)
    with no_triggers():
        entry.form = 2
        entry.hash = hash_of(entry)
        entry.save()

    for now in (timezone.now(), NOON):  # long after the update, and on its day
        assert not record_trust.is_vouched_for(entry, now=now)


def test_only_the_signature_that_the_record_was_written_with_is_trusted() -> None:
    entry = record()
    keys, good = signing.trusted_keys(), entry.signature
    changed = good.replace(good[30], "A" if good[30] != "A" else "B")
    own_id = signing.signing_key().key_id
    expected = {
        good: Trust.KNOWN,
        changed: Trust.FORGED,
        "": Trust.FORGED,
        "no colon": Trust.FORGED,
        f"{own_id}:": Trust.FORGED,
        f"{own_id}:not base64": Trust.FORGED,
        f"0123456789abcdef:{good}": Trust.UNKNOWN,
    }

    for signature, trust in expected.items():
        entry.signature = signature
        assert record_signatures.trust_of(entry, keys) is trust, signature
