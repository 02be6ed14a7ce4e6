"""A chain that somebody touched, with the triggers out of the way, is said to be, and how."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F, QuerySet

from hitl.audit import checkpoints, diagnose, triggers, verify
from hitl.audit import record as audit_record
from hitl.audit.diagnose import BreakKind
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from tests.integration.audit.signed_chains import broken
from tests.integration.chains import chain_of, record
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db


def unlocked() -> QuerySet[AuditRecord]:
    """Return every record, to be changed as by somebody who has the whole database."""
    triggers.remove(connection)
    return AuditRecord.objects.all()


def diagnosis(tenant_id: str = "tenant1") -> tuple[BreakKind, int]:
    """Return what verification says was done, and to which record."""
    broken = verify.verify(tenant_id)
    assert isinstance(broken, diagnose.ChainBreak), broken
    assert str(broken.sequence) in broken.why
    return broken.kind, broken.sequence


def rehash(entry: AuditRecord) -> None:
    """Write the record with the hash that fits it."""
    entry.hash = audit_record.hash_of(entry)
    AuditRecord.objects.filter(pk=entry.pk).update(
        **{name: getattr(entry, name) for name in ("actor", "sequence", "previous_hash", "hash")}
    )


def shift(first: int, by: int) -> None:
    """Give records from `first` on other numbers, as one statement might with its checks off."""
    for direction in (1, -1):
        moved = AuditRecord.objects.filter(sequence__gte=first if direction == 1 else 1000 + first)
        moved.update(sequence=F("sequence") + direction * 1000 + (by if direction == 1 else 0))


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
    "form": 1,
    "action_type": "pay",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("column", EDITS)
def test_verify_finds_an_edited_column(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "_MAX_DISTANCE", 100)
    chain_of(4)
    unlocked().filter(sequence=2).update(**{column: EDITS[column]})

    assert diagnosis() == (BreakKind.EDITED, 2)


@pytest.mark.parametrize("sequence", [1, 2, 4])
def test_verify_finds_an_edit_whose_hash_was_made_to_fit(sequence: int) -> None:
    chain_of(4)
    edited = unlocked().get(sequence=sequence)
    edited.actor = "somebody else"
    rehash(edited)

    assert diagnosis() == (BreakKind.EDITED, sequence)


def test_verify_finds_a_link_that_was_made_to_fit() -> None:
    chain_of(4)
    edited = unlocked().get(sequence=3)
    edited.previous_hash = "0" * 64
    rehash(edited)

    assert diagnosis() == (BreakKind.EDITED, 3)


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_verify_finds_a_removed_record(sequence: int) -> None:
    chain_of(4)
    unlocked().filter(sequence=sequence).delete()

    assert diagnosis() == (BreakKind.REMOVED, sequence)


def test_verify_finds_a_removed_record_whose_gap_was_closed() -> None:
    chain_of(5)
    unlocked().filter(sequence=2).delete()
    shift(3, by=-1)
    AuditChain.objects.update(last_sequence=4)

    assert diagnosis() == (BreakKind.REMOVED, 2)


def test_verify_finds_a_number_left_out_though_every_link_fits() -> None:
    chain_of(3)
    moved = unlocked().get(sequence=3)
    moved.sequence = 4
    rehash(moved)
    AuditChain.objects.update(last_sequence=4, last_hash=moved.hash)

    assert diagnosis() == (BreakKind.REMOVED, 3)


@pytest.mark.parametrize("left", [0, 2, 3])
def test_verify_finds_a_chain_cut_off_at_its_end(left: int) -> None:
    chain_of(4)
    unlocked().filter(sequence__gt=left).delete()

    assert diagnosis() == (BreakKind.TRUNCATED, left + 1)


def test_verify_finds_a_chain_whose_head_was_removed() -> None:
    chain_of(4)
    AuditChain.objects.all().delete()

    assert diagnosis()[0] is BreakKind.INSERTED
    assert "tenant1" in verify.tenants()


def test_verify_finds_a_head_that_was_set_back() -> None:
    _, second, *_ = chain_of(4)
    AuditChain.objects.update(last_sequence=2, last_hash=second.hash)

    assert diagnosis() == (BreakKind.INSERTED, 3)


@pytest.mark.parametrize("sequence", [5, 0, -1])
def test_verify_finds_a_record_outside_the_chain(sequence: int) -> None:
    chain_of(4)
    unlocked()
    forged = AuditRecord.objects.get(sequence=4)
    forged.pk, forged.sequence = None, sequence
    forged.previous_hash = forged.hash
    forged.hash = audit_record.hash_of(forged)
    forged.save(force_insert=True)

    assert diagnosis() == (BreakKind.INSERTED, sequence)


def test_verify_finds_a_record_put_between_two() -> None:
    chain_of(4)
    unlocked()
    shift(3, by=1)
    forged = AuditRecord.objects.get(sequence=2)
    forged.pk, forged.sequence, forged.actor = None, 3, "somebody else"
    forged.previous_hash = forged.hash
    forged.hash = audit_record.hash_of(forged)
    forged.save(force_insert=True)
    AuditChain.objects.update(last_sequence=5)

    assert diagnosis() == (BreakKind.INSERTED, 3)


def test_verify_finds_a_copied_record() -> None:
    chain_of(3)
    unlocked()
    copied = AuditRecord.objects.get(sequence=2)
    copied.pk, copied.sequence = None, 4
    copied.save(force_insert=True)
    AuditChain.objects.update(last_sequence=4)

    assert diagnosis() == (BreakKind.INSERTED, 4)


@pytest.mark.parametrize(
    "order",
    [((2, 99), (3, 2), (99, 3)), ((2, 99), (3, 2), (4, 3), (99, 4)), ((2, 99),)],
    ids=["two changed places", "one moved back", "one moved out"],
)
def test_verify_finds_records_in_another_order(order: tuple[tuple[int, int], ...]) -> None:
    chain_of(5)
    records = unlocked()
    for sequence, other in order:
        records.filter(sequence=sequence).update(sequence=other)

    assert diagnosis() == (BreakKind.REORDERED, 2)


def test_verify_finds_a_record_moved_to_another_tenant() -> None:
    chain_of(2)
    record(OUTSIDER)
    unlocked().filter(tenant_id="tenant1", sequence=2).update(tenant_id="tenant2")
    AuditChain.objects.filter(tenant_id="tenant2").update(last_sequence=2)

    assert diagnosis("tenant1") == (BreakKind.TRUNCATED, 2)
    assert diagnosis("tenant2") == (BreakKind.INSERTED, 2)


# --- the command ------------------------------------------------------------------------


def command(*args: str) -> str:
    out = StringIO()
    call_command("verify_audit", *args, stdout=out)
    return out.getvalue()


def with_triggers(change: Callable[[QuerySet[AuditRecord]], object]) -> None:
    change(unlocked())
    triggers.install(connection)


def test_command_names_the_first_broken_record_and_exits_with_1() -> None:
    chain_of(3)
    record(OUTSIDER)
    checkpoints.sign_moved_heads()
    with_triggers(lambda records: records.filter(tenant_id="tenant1", sequence=2).delete())

    with pytest.raises(CommandError, match="breaks at record 2: Record 2 is missing") as ended:
        command()
    assert ended.value.returncode == 1
    assert "1 records hold" in command("--tenant", "tenant2")


def test_command_prints_json_for_programs() -> None:
    chain_of(3)
    record(OUTSIDER)
    checkpoints.sign_moved_heads()

    first, second = map(json.loads, command("--json").splitlines())

    assert (first["tenant"], first["holds"], first["records"]) == ("tenant1", True, 3)
    assert (second["tenant"], second["holds"]) == ("tenant2", True)
    with_triggers(lambda records: records.filter(sequence=2).delete())
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", "--json", "--tenant", "tenant1", stdout=out)
    result = json.loads(out.getvalue())
    assert (result["holds"], result["kind"], result["sequence"]) == (False, "removed", 2)


def test_verify_finds_two_records_that_changed_places_far_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagnose, "_WINDOW", 2)
    chain_of(9)
    unlocked()
    for old, new in ((2, 1002), (8, 2), (1002, 8)):
        AuditRecord.objects.filter(sequence=old).update(sequence=new)

    assert diagnosis() == (BreakKind.REORDERED, 2)


def test_missing_trigger_is_reported_beside_a_break() -> None:
    chain_of(3)
    unlocked().filter(sequence=2).update(actor="somebody else")
    out = StringIO()

    with pytest.raises(CommandError, match=r"breaks at record 2.*has lost its trigger"):
        call_command("verify_audit", json=True, stdout=out)

    assert json.loads(out.getvalue())["kind"] == "edited"


# --- beside checkpoints -----------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_rewritten_chain_is_found() -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    triggers.remove(connection)
    previous = audit_record.GENESIS
    for entry in AuditRecord.objects.order_by("sequence"):
        entry.actor, entry.previous_hash = "somebody else", previous
        entry.hash = previous = audit_record.hash_of(entry)
        entry.save()
    AuditChain.objects.update(last_hash=previous)
    AuditCheckpoint.objects.all().delete()

    assert broken() == (BreakKind.REWRITTEN, 5)


@pytest.mark.usefixtures("folder")
def test_verify_finds_a_head_that_was_set_back_before_a_checkpoint() -> None:
    _, second, *_ = chain_of(4)
    checkpoints.sign_head("tenant1")
    AuditChain.objects.update(last_sequence=2, last_hash=second.hash)

    assert broken() == (BreakKind.INSERTED, 3)


@pytest.mark.usefixtures("folder")
def test_verify_finds_an_edited_record_that_a_checkpoint_vouches_for() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    triggers.remove(connection)
    edited = AuditRecord.objects.get(sequence=3)
    edited.actor = "somebody else"
    edited.hash = audit_record.hash_of(edited)
    edited.save()
    triggers.install(connection)

    assert broken() == (BreakKind.EDITED, 3)
