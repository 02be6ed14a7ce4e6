"""A chain goes on behind inserted records, which stay where they are and are named for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from hitl import services
from hitl.actors import system_actor
from hitl.audit import (
    breaks,
    checkpoints,
    compare,
    diagnose,
    export_file,
    triggers,
    verify,
    verify_export,
)
from hitl.audit.acknowledge import acknowledge as write_acknowledgement
from hitl.audit.breaks import AcknowledgedBreak
from hitl.audit.diagnose import BreakKind
from hitl.audit.export_format import Format, Unreadable
from hitl.errors import ChainBlocked, ChainBroken, HeadDiffers, NothingToAcknowledge
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from tests import factories
from tests.integration.audit.exports import exported, hourly, keys
from tests.integration.audit.signed_chains import broken
from tests.integration.audit.strays import fitting_stray, head_of, stray, stray_behind_head
from tests.integration.audit.test_manipulated_exports import checkpoint, read, write
from tests.integration.chains import NOON, chain_of, record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]
HIGHEST = 2**63 - 1


def acknowledge(reason: str = "inserted by somebody with SQL") -> AcknowledgedBreak:
    return write_acknowledgement(system_actor("tenant1"), reason)


def verified(tenant_id: str = "tenant1") -> verify.IntactChain:
    result = verify.verify(tenant_id)
    assert isinstance(result, verify.IntactChain), result
    return result


def printed(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_blocked_tenant_decides_again_and_the_break_is_named_for_ever() -> None:
    request = factories.opened()
    inserted = stray_behind_head()
    with pytest.raises(ChainBlocked):
        services.approve(request.request_id, factories.actor())
    with pytest.raises(CommandError, match="Chain of tenant1 breaks at record 2: Record 2 stands"):
        call_command("verify_audit", stdout=StringIO())

    words = ["--tenant", "tenant1", "--reason", "ticket 7: inserted by hand"]
    output = printed("acknowledge_audit_break", *words)

    assert f"record 2 does not belong to the chain, hash {inserted.hash}" in output
    assert "tenant1: the chain goes on from record 3, which follows record 1." in output
    assert services.approve(request.request_id, factories.actor()).status == "approved"
    text = printed("verify_audit")
    assert "tenant1: 3 records hold" in text
    assert "Acknowledged break after record 1: 1 records" in text
    assert "ticket 7: inserted by hand" in text
    assert "Every chain holds: 3 records, with 1 acknowledged break." in text
    [result] = [json.loads(line) for line in printed("verify_audit", "--json").splitlines()]
    [named] = result["acknowledgedBreaks"]
    assert (named["after"], named["sequence"], named["skipped"]) == (1, 3, 1)
    assert [each["sequence"] for each in named["records"]] == [2]
    assert named["records"][0]["hash"] == inserted.hash
    # Nothing was changed or removed.
    assert AuditRecord.objects.get(pk=inserted.pk).hash == inserted.hash


def test_record_that_acknowledges_says_who_and_why_and_follows_the_last_good_one() -> None:
    *_, last = chain_of(3)
    inserted = stray_behind_head()

    acknowledge("why")

    entry = AuditRecord.objects.get(event="audit:break_acknowledged")
    assert (entry.sequence, entry.previous_hash, entry.actor) == (5, last.hash, "system")
    details = json.loads(entry.details)
    assert (details["kind"], details["after"], details["reason"]) == ("inserted", 3, "why")
    assert details["records"][0]["sequence"] == inserted.sequence
    assert head_of().last_hash == entry.hash


def test_many_inserted_records_are_skipped_at_once_and_all_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaks, "MAX_NAMED", 3)
    chain_of(2)
    for sequence in range(3, 13):
        stray(sequence)

    acknowledged = acknowledge()
    chain_of(2)

    assert (acknowledged.skipped, len(acknowledged.records), acknowledged.sequence) == (10, 3, 13)
    assert verified().records == 5
    unlocked_edit(11)
    assert broken() == (BreakKind.EDITED, 3)


def unlocked_edit(sequence: int) -> None:
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence=sequence).update(actor="other")
    triggers.install(connection)


def test_fitting_record_that_nothing_vouches_for_is_not_taken_into_the_chain() -> None:
    chain_of(2)
    fitting_stray()

    acknowledged = acknowledge()

    assert [each.sequence for each in acknowledged.records] == [3]
    assert verified().records == 3


def test_head_that_was_set_back_keeps_the_records_that_are_signed() -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    third = AuditRecord.objects.get(sequence=3)
    AuditChain.objects.update(last_sequence=3, last_hash=third.hash)
    with pytest.raises(ChainBlocked):
        record()

    acknowledged = acknowledge()
    record()

    assert (acknowledged.after, acknowledged.sequence, acknowledged.skipped) == (5, 6, 0)
    assert (verified().records, verified().vouched) == (7, 5)


def test_head_that_was_set_back_behind_an_acknowledged_break_keeps_what_is_signed() -> None:
    chain_of(2)
    stray_behind_head()
    acknowledge()
    chain_of(2)
    checkpoints.sign_head("tenant1")
    first = AuditRecord.objects.get(sequence=1)
    AuditChain.objects.update(last_sequence=1, last_hash=first.hash)

    acknowledged = acknowledge()

    assert (acknowledged.after, acknowledged.skipped) == (6, 0)
    assert [each.after for each in verified().acknowledged_breaks] == [2, 6]


@pytest.mark.parametrize(
    ("change", "is_blocked"),
    [({"last_hash": "ab" * 32}, True), ({"last_sequence": 9}, False), ({"last_sequence": 1}, True)],
)
def test_chain_whose_head_was_changed_goes_on_and_says_what_it_was_set_to(
    change: dict[str, object], is_blocked: bool
) -> None:
    checkpoints.sign_head(chain_of(2)[0].tenant_id)
    record()
    stray(4 if is_blocked else 10)
    AuditChain.objects.update(**change)
    with pytest.raises(ChainBlocked):
        record()

    acknowledged = acknowledge()
    record()

    assert (acknowledged.kind, acknowledged.head) == (
        breaks.BreakCause.HEAD_CHANGED,
        change.get("last_sequence", 3),
    )
    assert "head had been set to record" in " ".join(verified().notes)


def test_chain_goes_on_though_a_record_has_the_highest_number_there_is() -> None:
    chain_of(2)
    stray(HIGHEST)
    stray_behind_head()

    acknowledged = acknowledge()
    chain_of(3)

    assert (acknowledged.sequence, acknowledged.skipped) == (4, 1)
    assert [each.sequence for each in acknowledged.outside] == [HIGHEST]
    assert verified().records == 6


def test_record_before_the_first_is_acknowledged_too() -> None:
    chain_of(2)
    stray(0)
    stray(-5)
    assert broken() == (BreakKind.INSERTED, -5)

    acknowledge()

    assert verified().records == 3


def test_record_far_behind_blocks_nobody_and_is_found_before_the_chain_gets_there() -> None:
    chain_of(2)
    stray_behind_head(by=3)
    record()

    acknowledged = acknowledge()
    chain_of(4)

    assert (acknowledged.after, acknowledged.sequence) == (3, 6)
    assert verified().records == 8


def test_break_is_acknowledged_again_each_time_one_is_found() -> None:
    chain_of(2)
    for _ in range(3):
        stray_behind_head()
        acknowledge()
        chain_of(2)

    assert [(each.after, each.sequence) for each in verified().acknowledged_breaks] == [
        (2, 4),
        (6, 8),
        (10, 12),
    ]
    assert verified().records == 11


def test_acknowledgement_that_was_inserted_itself_is_skipped_like_any_record() -> None:
    chain_of(2)
    forged = {"after": 0, "skipped": 2, "skippedDigest": "", "records": [], "outside": []}
    details = json.dumps({**forged, "reason": "x"})
    stray(3, event="audit:break_acknowledged", details=details, fits=True)

    acknowledge()

    assert [each.after for each in verified().acknowledged_breaks] == [2]


@pytest.mark.parametrize("details", ["", "[]", "{}", '{"after": "x"}', '{"after": 1}', "[" * 5000])
def test_acknowledgement_that_cannot_be_read_vouches_for_nothing(details: str) -> None:
    chain_of(1)
    stray(2)
    head = head_of()
    stray(
        3,
        event="audit:break_acknowledged",
        details=details,
        previous_hash=head.last_hash,
        fits=True,
    )
    AuditChain.objects.update(last_sequence=3, last_hash=AuditRecord.objects.get(sequence=3).hash)

    assert broken()[1] == 2


# --- what is done to a chain with an acknowledged break ------------------------------------


def insert_between() -> None:
    stray(4)


def remove(sequence: int) -> None:
    triggers.remove(connection)
    AuditRecord.objects.filter(sequence=sequence).delete()
    triggers.install(connection)


AFTERWARDS: dict[str, tuple[Callable[[], object], BreakKind, int]] = {
    "inserted-record-edited": (lambda: unlocked_edit(3), BreakKind.EDITED, 3),
    "inserted-record-removed": (lambda: remove(3), BreakKind.REMOVED, 3),
    "another-inserted-beside-it": (insert_between, BreakKind.INSERTED, 3),
    "acknowledgement-edited": (lambda: unlocked_edit(6), BreakKind.EDITED, 6),
    "acknowledgement-removed": (lambda: remove(6), BreakKind.EDITED, 3),
    "record-before-it-edited": (lambda: unlocked_edit(2), BreakKind.EDITED, 2),
    "record-behind-it-edited": (lambda: unlocked_edit(7), BreakKind.EDITED, 7),
    "record-behind-it-removed": (lambda: remove(7), BreakKind.REMOVED, 7),
    "another-behind-the-head": (stray_behind_head, BreakKind.INSERTED, 9),
    "another-before-the-first": (lambda: stray(0), BreakKind.INSERTED, 0),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", AFTERWARDS)
def test_acknowledged_break_hides_nothing_that_is_done_later(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnose, "_MAX_DISTANCE", 100)
    change, kind, at = AFTERWARDS[name]
    chain_of(2)
    stray(3)
    stray(5)
    acknowledge()
    chain_of(2)
    assert verified().records == 5

    change()

    assert broken() == (kind, at)


def test_signed_record_cannot_be_acknowledged_away() -> None:
    chain_of(2)
    stray_behind_head()
    acknowledge()
    record()
    sign_record(3)

    assert broken() == (BreakKind.REWRITTEN, 3)


def sign_record(sequence: int) -> None:
    """Have the deployment's key vouch for a record, as if it had been the head."""
    head = head_of()
    entry = AuditRecord.objects.get(sequence=sequence)
    AuditChain.objects.update(last_sequence=sequence, last_hash=entry.hash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "_check_records_are_signed", lambda *_, **__: None)
        checkpoints.sign_head("tenant1")
    AuditChain.objects.update(last_sequence=head.last_sequence, last_hash=head.last_hash)


@pytest.mark.parametrize("by", [1, 50_000], ids=["skipped", "named-far-behind"])
def test_record_that_stands_outside_the_chain_vouches_for_no_row(by: int) -> None:
    factories.opened(request_id="req_stray")
    entry = stray_behind_head(by=by)
    ApprovalRequest.objects.update(
        status="approved",
        decided_at=entry.at,
        decided_by=entry.actor,
        decided_channel=entry.channel,
    )
    acknowledge()

    differing = compare.compare_tenant("tenant1").differences

    assert verified().records > 1
    assert {"status", "decided_by"} <= {each.what for each in differing}


# --- when there is nothing to acknowledge ---------------------------------------------------


def test_whole_chain_has_nothing_to_acknowledge() -> None:
    chain_of(2)

    with pytest.raises(NothingToAcknowledge):
        acknowledge()
    with pytest.raises(CommandError, match="no break to acknowledge"):
        call_command("acknowledge_audit_break", "--tenant", "tenant1", "--reason", "x")

    assert AuditRecord.objects.count() == 2


def test_nothing_is_acknowledged_twice() -> None:
    chain_of(2)
    stray_behind_head()
    stray(HIGHEST)
    acknowledge()

    with pytest.raises(NothingToAcknowledge):
        acknowledge()


def test_chain_whose_signed_end_is_missing_is_not_continued() -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    remove(5)
    third = AuditRecord.objects.get(sequence=3)
    AuditChain.objects.update(last_sequence=3, last_hash=third.hash)

    with pytest.raises(HeadDiffers):
        acknowledge()


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_reason_has_to_say_something(reason: str) -> None:
    chain_of(1)
    stray_behind_head()

    with pytest.raises(CommandError, match="--reason is 1 to 1000"):
        call_command("acknowledge_audit_break", "--tenant", "tenant1", "--reason", reason)


# --- exports --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Format)
def test_export_goes_across_an_acknowledged_break_and_names_it(
    tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "_BATCH_SIZE", 2)
    chain_of(3)
    stray(4)
    stray(6)
    stray(HIGHEST)
    acknowledge()
    chain_of(2)
    checkpoints.sign_head("tenant1")
    path, out = tmp_path / "out.zip", StringIO()

    call_command("export_audit", str(path), "--tenant", "tenant1", f"--format={form}", stdout=out)

    export = verify_export.verify(path, keys())
    assert (export.breaks, export.vouched) == (((3, 7),), 9)
    assert export.manifest["records"] == 6
    with pytest.raises(CommandError) as ended:
        call_command("verify_export", str(path), stdout=out)
    assert ended.value.returncode == 2
    assert "acknowledged break: record 7 follows record 3" in out.getvalue()
    assert b"req_stray" not in path.read_bytes()


def test_export_of_a_time_holds_nothing_inserted_at_that_time(tmp_path: Path) -> None:
    hourly(3)
    stray(4, at=NOON)
    acknowledge()
    path = tmp_path / "out.zip"

    exported(path, until=NOON + timedelta(hours=2))

    export = verify_export.verify(path, keys())
    assert (export.breaks, export.manifest["lastSequence"]) == ((), 3)


def test_export_behind_an_acknowledged_break_is_refused_where_a_record_is_missing(
    tmp_path: Path,
) -> None:
    chain_of(2)
    stray_behind_head()
    acknowledge()
    chain_of(4)
    remove(6)

    with pytest.raises(ChainBroken, match="record 6"):
        exported(tmp_path / "out.zip")


def test_export_whose_break_no_record_acknowledges_is_refused(tmp_path: Path) -> None:
    chain_of(3)
    stray_behind_head()
    acknowledge()
    path = tmp_path / "out.zip"
    exported(path)
    manifest, records = read(path)
    lines = records.splitlines(True)
    removed = b"".join([lines[0], *lines[2:]])
    numbers = {"records": 3, "acknowledgedBreaks": [{"after": 1, "sequence": 3}]}

    for change, left, why in (
        ({"acknowledgedBreaks": []}, records, "record 4 is missing"),
        (numbers, removed, "record 3 does not acknowledge a break after record 1"),
        (
            {"acknowledgedBreaks": [{"after": 2, "sequence": 5}]},
            records,
            "record 4 is missing|no such record",
        ),
        ({"acknowledgedBreaks": [{"after": 3, "sequence": 9}]}, records, "not within its records"),
        ({"acknowledgedBreaks": ["x"]}, records, "cannot be read"),
        ({"acknowledgedBreaks": [{"after": "3", "sequence": 5}]}, records, "cannot be read"),
        (
            {"checkpoints": checkpoint(4)},
            records,
            "a checkpoint vouches for record 4, which record 5 acknowledges as inserted",
        ),
    ):
        write(path, manifest | change, left)
        with pytest.raises(Unreadable, match=why):
            verify_export.verify(path, keys())
