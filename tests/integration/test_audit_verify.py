"""A chain that somebody touched, with the triggers out of the way, does not verify."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.models import QuerySet

from hitl import append_only, audit, verifying
from hitl.models import AuditChain, AuditRecord
from tests.integration.chains import chain_of, record
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db


def unlocked() -> QuerySet[AuditRecord]:
    """Return every record, to be changed as by somebody who has the whole database."""
    append_only.remove(connection)
    return AuditRecord.objects.all()


def test_verify_of_an_untouched_chain_tells_its_length_and_head() -> None:
    *_, last = chain_of(5)

    assert verifying.verify("tenant1") == verifying.Verified("tenant1", 5, last.hash)


def test_verify_of_an_empty_chain_holds() -> None:
    assert verifying.verify("nobody") == verifying.Verified("nobody", 0, audit.GENESIS)


# One change of every column that the hash covers.
EDITS: dict[str, object] = {
    "event": "request:approved",
    "request_id": "req-other",
    "session_id": "other",
    "actor": "somebody else",
    "actor_kind": "operator",
    "channel": "admin",
    "at": datetime(2020, 1, 1, tzinfo=UTC),
    "source_address": "10.0.0.1",
    "user_agent": "curl",
    "context_digest": "00",
    "details": "{}",
    "previous_hash": "00",
    "hash": "00",
}


@pytest.mark.parametrize("column", EDITS)
def test_verify_finds_an_edited_column(column: str) -> None:
    chain_of(4)
    unlocked().filter(sequence=2).update(**{column: EDITS[column]})

    broken = verifying.verify("tenant1")

    assert isinstance(broken, verifying.Break)
    assert broken.sequence == 2


def test_verify_finds_an_edit_whose_hash_was_made_to_fit() -> None:
    chain_of(4)
    edited = AuditRecord.objects.get(sequence=2)
    edited.actor = "somebody else"
    unlocked().filter(sequence=2).update(actor=edited.actor, hash=audit.hash_of(edited))

    broken = verifying.verify("tenant1")

    assert isinstance(broken, verifying.Break)
    assert broken.sequence == 3


@pytest.mark.parametrize("sequence", [1, 2, 4])
def test_verify_finds_a_removed_record(sequence: int) -> None:
    chain_of(4)
    unlocked().filter(sequence=sequence).delete()

    assert verifying.verify("tenant1") == verifying.Break(
        "tenant1", sequence, f"record {sequence} is missing"
    )


def test_verify_finds_a_chain_cut_off_at_its_end() -> None:
    chain_of(4)
    unlocked().filter(sequence__gt=2).delete()

    assert verifying.verify("tenant1") == verifying.Break("tenant1", 3, "record 3 is missing")


def test_verify_finds_a_chain_removed_whole() -> None:
    chain_of(4)
    unlocked().delete()

    assert isinstance(verifying.verify("tenant1"), verifying.Break)
    assert "tenant1" in audit.tenants()


def test_verify_finds_a_chain_whose_head_was_removed() -> None:
    chain_of(4)
    AuditChain.objects.all().delete()

    assert isinstance(verifying.verify("tenant1"), verifying.Break)
    assert "tenant1" in audit.tenants()


def test_verify_finds_a_head_that_was_set_back() -> None:
    _, second, *_ = chain_of(4)
    AuditChain.objects.update(last_sequence=2, last_hash=second.hash)

    assert isinstance(verifying.verify("tenant1"), verifying.Break)


@pytest.mark.parametrize("sequence", [5, 0, -1])
def test_verify_finds_an_inserted_record(sequence: int) -> None:
    chain_of(4)
    unlocked()
    forged = AuditRecord.objects.get(sequence=4)
    forged.pk, forged.sequence = None, sequence
    forged.previous_hash, forged.hash = forged.hash, audit.hash_of(forged)
    forged.save(force_insert=True)

    assert isinstance(verifying.verify("tenant1"), verifying.Break)


def test_verify_finds_records_in_another_order() -> None:
    chain_of(4)
    records = unlocked()
    for sequence, other in ((2, 99), (3, 2), (99, 3)):
        records.filter(sequence=sequence).update(sequence=other)

    broken = verifying.verify("tenant1")

    assert isinstance(broken, verifying.Break)
    assert broken.sequence == 2


def test_verify_finds_a_record_moved_to_another_tenant() -> None:
    chain_of(2)
    record(OUTSIDER)
    unlocked().filter(tenant_id="tenant1", sequence=2).update(tenant_id="tenant2")

    assert isinstance(verifying.verify("tenant1"), verifying.Break)
    assert isinstance(verifying.verify("tenant2"), verifying.Break)
