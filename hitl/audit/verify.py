"""Walks a chain and says whether it holds, or where it breaks.

`hitl.audit.diagnose` says what was done to it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _

from dwp_project import clocks
from hitl import metrics
from hitl.audit import breaks, checkpoint_reader, checkpoints, diagnose, record
from hitl.audit.breaks import AcknowledgedBreak, BreakCause, ChainWalk
from hitl.audit.checkpoint_reader import SignedHeads
from hitl.audit.diagnose import ChainBreak
from hitl.audit.record_signatures import ChainSignatures
from hitl.models import AuditRecord
from hitl.text import sanitize

# Chosen: records read at once.
_BATCH_SIZE = 2000
# Called with the number of records walked so far and in all. May raise to stop the walk.
Progress = Callable[[int, int], None]


class Verdict(StrEnum):
    """What a verification says of a chain, in one word."""

    # It holds, and all but its youngest records are vouched for.
    WHOLE = "whole"
    # It holds, but older records have no trusted signature outside the database.
    UNVOUCHED = "unvouched"
    BROKEN = "broken"
    # It holds, but rows of the tables say something else than it does.
    DIFFERS = "differs"
    # It could not be verified.
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class IntactChain:
    """A chain that holds from its first record to its head."""

    tenant_id: str
    records: int
    head: str
    # The last record that a signed checkpoint vouches for; 0 without any.
    vouched: int = 0
    verdict: Verdict = Verdict.WHOLE
    notes: tuple[str, ...] = ()
    acknowledged_breaks: tuple[AcknowledgedBreak, ...] = ()


def tenants() -> list[str]:
    """Return the tenant of every chain of which a record, a head or a checkpoint is left."""
    return sorted({*record.tenants(), *checkpoint_reader.tenants()})


def as_json(result: IntactChain | ChainBreak) -> dict[str, Any]:
    """Return a result as the JSON object that commands and pages send."""
    values = asdict(result)
    tenant = values.pop("tenant_id")
    is_intact = isinstance(result, IntactChain)
    if isinstance(result, IntactChain):
        del values["acknowledged_breaks"]
        values["acknowledgedBreaks"] = [each.as_json() for each in result.acknowledged_breaks]
    verdict = {} if is_intact else {"verdict": Verdict.BROKEN}
    return {"tenant": tenant, "holds": is_intact, **values, **verdict}


def verify(
    tenant_id: str,
    *,
    progress: Progress = lambda done, of: None,
    now: datetime | None = None,
) -> IntactChain | ChainBreak:
    """Walk one chain to its head, in batches, and compare it with its checkpoints; return the
    first break, if any. Records that are written meanwhile are left to the next walk.

    Records that are older than `checkpoints.VOUCHED_WITHIN` at `now` have to be vouched for.
    """
    due_at = (now or clocks.now()) - checkpoints.VOUCHED_WITHIN
    # Read before the head, so that no checkpoint is of a record that the head does not count.
    heads = checkpoint_reader.read_signed_heads(tenant_id)
    head = diagnose.head_of(tenant_id)
    signatures = ChainSignatures(tenant_id, vouched=heads.last)
    oldest_at: datetime | None = None
    acknowledged = breaks.acknowledged(tenant_id, head.last_sequence)
    walk = ChainWalk(acknowledged)
    for entry in _records(tenant_id, head.last_sequence):
        if walk.skips(entry):
            continue
        if not walk.follows(entry):
            return diagnose.find_other_skipped(walk, tenant_id) or diagnose.diagnose_record(
                tenant_id, walk.expected, entry, head
            )
        statements = heads.statements.get(entry.sequence, ())
        if any(statement.hash != entry.hash for statement in statements):
            return diagnose.diagnose_signed_record(entry, head, heads)
        if entry.sequence > heads.last_in_files and (oldest_at is None or entry.at < oldest_at):
            oldest_at = entry.at
        if signatures.lacks_signature(entry) and (
            unsigned := diagnose.find_unsigned_record(entry, head, acknowledged)
        ):
            return unsigned
        if entry.sequence % _BATCH_SIZE == 0:
            progress(entry.sequence, head.last_sequence)
    expected, previous = walk.expected, walk.previous
    progress(expected - 1, head.last_sequence)
    metrics.set_unvouched(tenant_id, oldest_at)
    is_overdue = oldest_at is not None and oldest_at < due_at
    is_vouched = not (
        is_overdue
        or heads.files_error
        or heads.is_file_lost
        or heads.lost_in_database
        or signatures.by_unknown_keys
    )
    return (
        diagnose.find_truncation(tenant_id, expected, previous, head)
        or diagnose.find_skipped_signed_record(tenant_id, acknowledged, heads)
        or diagnose.find_records_outside_chain(tenant_id, head, acknowledged)
        or diagnose.find_lost_signed_records(tenant_id, expected, heads)
        or diagnose.find_forged_checkpoint(tenant_id, heads)
        or IntactChain(
            tenant_id,
            walk.count,
            previous,
            vouched=heads.last,
            verdict=Verdict.WHOLE if is_vouched else Verdict.UNVOUCHED,
            notes=(
                *_breaks_notes(acknowledged),
                *_notes(heads, signatures.by_unknown_keys, is_overdue=is_overdue),
            ),
            acknowledged_breaks=tuple(acknowledged),
        )
    )


def _records(tenant_id: str, last: int) -> Iterator[AuditRecord]:
    """Yield records 1 to `last` in order, read in batches by index: no cursor stays open."""
    after = 0
    while True:
        rows = AuditRecord.objects.filter(
            tenant_id=tenant_id, sequence__gt=after, sequence__lte=last
        )
        batch = list(rows.order_by("sequence")[:_BATCH_SIZE])
        yield from batch
        if len(batch) < _BATCH_SIZE:
            return
        after = batch[-1].sequence


def _breaks_notes(acknowledged: Iterable[AcknowledgedBreak]) -> Iterator[str]:
    """Yield a remark on each acknowledged break of a chain that holds."""
    for each in acknowledged:
        note = (
            _(
                "Acknowledged break after record %(after)d: %(count)d records that do not belong "
                "to the chain stand there or outside it. Record %(by)d of %(at)s acknowledges it: "
                "%(reason)s"
            )
            if each.kind == BreakCause.INSERTED
            else _(
                "Acknowledged break after record %(after)d: the chain's head had been set to "
                "record %(head)d, and %(count)d records that do not belong to the chain stand "
                "there or outside it. Record %(by)d of %(at)s acknowledges it: %(reason)s"
            )
        )
        yield note % {
            "after": each.after,
            "head": each.head,
            "count": each.skipped + len(each.outside),
            "by": each.sequence,
            "at": each.at,
            "reason": sanitize.plain(each.reason),
        }


def _notes(
    heads: SignedHeads, records_by_unknown_keys: int, *, is_overdue: bool
) -> tuple[str, ...]:
    """Return remarks on the checkpoints and signatures of a chain that holds."""
    notes = []
    if heads.files_error:
        notes.append(_("The files outside the database cannot be read: %(why)s"))
    if heads.is_file_lost:
        notes.append(
            _(
                "The file outside the database lacks the checkpoint of record %(written)d, which "
                "was written to it: it vanished, was cut or replaced, or its key is not trusted."
            )
        )
    if heads.lost_in_database:
        notes.append(_("The database lacks %(lost)d checkpoints that the files have."))
    if not heads.statements:
        notes.append(_("No checkpoint vouches for this chain: a rewritten one would hold, too."))
    elif not heads.in_files:
        notes.append(_("No checkpoint was found outside the database."))
    elif is_overdue:
        notes.append(
            _(
                "Records after %(last)d are older than two hours, and no checkpoint outside the "
                "database vouches for them."
            )
        )
    if heads.by_unknown_keys:
        notes.append(_("%(unknown)d checkpoints are signed by keys that are not known here."))
    if heads.unreadable_lines:
        notes.append(_("%(unreadable)d checkpoints cannot be read."))
    if records_by_unknown_keys:
        notes.append(_("%(records)d records are signed by keys that are not known here."))
    values = {
        "records": records_by_unknown_keys,
        "why": heads.files_error,
        "written": heads.written_outside,
        "lost": heads.lost_in_database,
        "last": heads.last_in_files,
        "unknown": heads.by_unknown_keys,
        "unreadable": heads.unreadable_lines,
    }
    return tuple(note % values for note in notes)
