"""Walks a chain and says whether it holds, or where it does not.

`hitl.audit.diagnose` says why it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _

from hitl.audit import checkpoint_reader, diagnose, record
from hitl.audit.checkpoint_reader import SignedHeads
from hitl.audit.diagnose import ChainBreak
from hitl.audit.hashing import GENESIS, hash_of
from hitl.models import AuditRecord

_PIECE = 2000
# Called with how many records were walked, and how many there are. May raise to stop the walk.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class IntactChain:
    """A chain that holds from its first record to its head."""

    tenant_id: str
    records: int
    head: str
    # The last record that a signed checkpoint vouches for; 0 without any.
    vouched: int = 0
    notes: tuple[str, ...] = ()


def tenants() -> list[str]:
    """Return the tenant of every chain of which a record, a head or a checkpoint is left."""
    return sorted({*record.tenants(), *checkpoint_reader.tenants()})


def as_json(found: IntactChain | ChainBreak) -> dict[str, Any]:
    """Return a result for programs."""
    told = asdict(found)
    tenant = told.pop("tenant_id")
    return {"tenant": tenant, "holds": isinstance(found, IntactChain), **told}


def verify(
    tenant_id: str, *, progress: Progress = lambda done, of: None
) -> IntactChain | ChainBreak:
    """Walk one chain to its head, in bounded pieces, beside its checkpoints; return the first
    break if any. May run while records are written: those are the next walk's."""
    # Before the head: no checkpoint is of a record that the head does not count yet.
    known = checkpoint_reader.of(tenant_id)
    head = diagnose.head_of(tenant_id)
    expected, previous = 1, GENESIS
    for entry in _records(tenant_id, head.last_sequence):
        if (
            entry.sequence != expected
            or entry.previous_hash != previous
            or entry.hash != hash_of(entry)
        ):
            return diagnose.what_was_done(tenant_id, expected, entry, head)
        if any(said.hash != entry.hash for said in known.said.get(expected, ())):
            return diagnose.not_what_was_signed(entry, head, known)
        if expected % _PIECE == 0:
            progress(expected, head.last_sequence)
        expected, previous = expected + 1, entry.hash
    progress(expected - 1, head.last_sequence)
    return (
        diagnose.cut_short(tenant_id, expected, previous, head)
        or diagnose.stray(tenant_id)
        or diagnose.beyond(tenant_id, expected, known)
        or diagnose.forged(tenant_id, known)
        or IntactChain(
            tenant_id, head.last_sequence, previous, vouched=known.last, notes=_notes(known)
        )
    )


def _records(tenant_id: str, last: int) -> Iterator[AuditRecord]:
    """Yield records 1 to `last` in order, read in pieces by index: no cursor stays open."""
    after = 0
    while True:
        found = AuditRecord.objects.filter(
            tenant_id=tenant_id, sequence__gt=after, sequence__lte=last
        )
        piece = list(found.order_by("sequence")[:_PIECE])
        yield from piece
        if len(piece) < _PIECE:
            return
        after = piece[-1].sequence


def _notes(known: SignedHeads) -> tuple[str, ...]:
    """Return what a reader should know of the checkpoints of a chain that holds."""
    notes = []
    if known.files_away:
        notes.append(_("The files outside the database cannot be read: %(why)s"))
    if not known.said:
        notes.append(_("No checkpoint vouches for this chain: a rewritten one would hold, too."))
    elif not known.in_files:
        notes.append(_("No checkpoint was found outside the database."))
    if known.by_unknown_keys:
        notes.append(_("%(unknown)d checkpoints are signed by keys that are not known here."))
    if known.unreadable_lines:
        notes.append(_("%(unreadable)d checkpoints cannot be read."))
    told = {
        "why": known.files_away,
        "unknown": known.by_unknown_keys,
        "unreadable": known.unreadable_lines,
    }
    return tuple(note % told for note in notes)
