"""Signs checkpoints of the chains' heads and stores them in the database and in files outside it.

`hitl.audit.checkpoint_statement` is what is signed; `hitl.audit.checkpoint_reader` reads it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.utils import IntegrityError
from django.utils.translation import gettext as _
from structlog.stdlib import get_logger

from dwp_project import clocks
from hitl import metrics
from hitl.actors import Actor
from hitl.audit import breaks, checkpoint_files, checkpoint_trust, record, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.hashing import exact, hash_of
from hitl.audit.record_signatures import ChainSignatures
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord
from hitl.states import AuditEvent

# Chosen: how often heads are signed. What was written since can be rewritten unseen.
INTERVAL = timedelta(hours=1)
# Chosen: one turn of the chore may fail; an older record has to be vouched for.
VOUCHED_WITHIN = 2 * INTERVAL

logger = get_logger(__name__)


class ChainDiffers(Exception):
    """A chain differs from what an earlier checkpoint says of it, and gets no new checkpoint."""


def sign_head(tenant_id: str, *, now: datetime | None = None) -> AuditCheckpoint | None:
    """Sign the head of a chain, if it moved since the last checkpoint, and append it to the file.

    Call it outside a transaction: only a committed head may be signed, and only a committed
    checkpoint may be written to the file. Raises `ChainDiffers`, `signing.KeyUnusable`; a folder
    that cannot be written is logged, and the next call writes what the file lacks.
    """
    checkpoint = _create_checkpoint(tenant_id, now or clocks.now())
    append_to_file(tenant_id)
    return checkpoint


def _create_checkpoint(
    tenant_id: str, now: datetime, *, is_loss_accepted: bool = False
) -> AuditCheckpoint | None:
    key = signing.signing_key()
    newest = checkpoint_trust.newest_statement(tenant_id)
    # Read after the newest checkpoint: another process may sign a later head in between.
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain(tenant_id=tenant_id)
    _check_signed_records_exist(tenant_id, newest, head)
    if head.last_sequence == 0 or _is_signed(head, {key.key_id: key.public}):
        return None
    _check_records_are_signed(
        tenant_id,
        newest.sequence if newest else 0,
        head.last_sequence,
        are_unknown_keys_accepted=is_loss_accepted,
    )
    statement = CheckpointStatement(
        tenant_id, head.last_sequence, head.last_hash, exact(now), key.key_id
    )
    try:
        with transaction.atomic():
            return AuditCheckpoint.objects.create(
                tenant_id=tenant_id,
                sequence=statement.sequence,
                hash=statement.hash,
                at=now,
                key_id=key.key_id,
                statement=statement.text,
                signature=key.sign(statement.text.encode()),
            )
    except IntegrityError:
        if _is_signed(head, {key.key_id: key.public}):
            # Another process signed the same head at the same moment.
            return None
        raise ChainDiffers(
            _("The checkpoint of record %(sequence)d in the database is not signed by its key.")
            % {"sequence": head.last_sequence}
        ) from None


def _is_signed(head: AuditChain, keys: dict[str, bytes]) -> bool:
    """Say whether the database has a checkpoint of this head that one of the keys signed."""
    rows = AuditCheckpoint.objects.filter(
        tenant_id=head.tenant_id, sequence=head.last_sequence, key_id__in=keys
    )
    statements = (checkpoint_trust.statement_of(row, keys) for row in rows)
    return any(each is not None and each.hash == head.last_hash for each in statements)


def _check_signed_records_exist(
    tenant_id: str, newest: CheckpointStatement | None, head: AuditChain
) -> None:
    """Raise `ChainDiffers` if the chain lost the record of its newest checkpoint or its head."""
    expected = [(newest.sequence, newest.hash)] if newest else []
    expected += [(head.last_sequence, head.last_hash)] if head.last_sequence else []
    for sequence, digest in expected:
        hashes = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=sequence)
        if sequence > head.last_sequence or digest not in hashes.values_list("hash", flat=True):
            raise ChainDiffers(
                _("Record %(sequence)d is not what it was when it was signed. Verify the chain.")
                % {"sequence": sequence}
            )


def _check_records_are_signed(
    tenant_id: str, vouched: int, last: int, *, are_unknown_keys_accepted: bool
) -> None:
    """Raise `ChainDiffers` if a record that no checkpoint vouches for yet carries no good
    signature: the next checkpoint would vouch for it."""
    signatures = ChainSignatures(
        tenant_id, vouched=vouched, are_unknown_keys_accepted=are_unknown_keys_accepted
    )
    records = breaks.chain_records(tenant_id, breaks.acknowledged(tenant_id, last))
    records = records.filter(sequence__gt=vouched, sequence__lte=last)
    for entry in records.order_by("sequence").iterator(chunk_size=500):
        if entry.hash != hash_of(entry) or signatures.lacks_signature(entry):
            raise ChainDiffers(
                _("Record %(sequence)d carries no good signature. Verify the chain.")
                % {"sequence": entry.sequence}
            )


def append_to_file(tenant_id: str, *, is_loss_accepted: bool = False) -> None:
    """Append the checkpoints that the tenant's file lacks.

    A checkpoint is committed before it is appended. A crash in between loses nothing, since the
    next call in any process appends what is missing. A failure is logged and counted. A file that
    lacks what was written to it is not written again from the database, unless `is_loss_accepted`.
    """
    keys = signing.trusted_keys()

    def checkpoints_after(after: int) -> Iterator[tuple[int, str, str]]:
        rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id, sequence__gt=after)
        for row in rows.order_by("sequence", "id").iterator(chunk_size=500):
            # A forged row with a high number would keep the later ones out of the file.
            if checkpoint_trust.statement_of(row, keys) is not None:
                yield row.sequence, row.statement, row.signature

    def trusted_sequence(text: str, signature: str) -> int:
        statement = checkpoint_trust.read(tenant_id, text, signature, keys)
        return statement.sequence if statement else 0

    try:
        last = checkpoint_files.append(
            tenant_id,
            checkpoints_after,
            trusted_sequence,
            (lambda: 0) if is_loss_accepted else (lambda: written_outside(tenant_id)),
        )
    except checkpoint_files.LinesLost as exc:
        metrics.checkpoint_failures.inc()
        logger.error("checkpoint_file_lost", tenant=tenant_id, error=str(exc))
        return
    except OSError as exc:
        metrics.checkpoint_failures.inc()
        logger.error("checkpoint_not_written_outside", tenant=tenant_id, error=str(exc))
        return
    chains = AuditChain.objects.filter(tenant_id=tenant_id)
    if is_loss_accepted:
        chains.update(outside_sequence=last)
    else:
        chains.filter(outside_sequence__lt=last).update(outside_sequence=last)


def written_outside(tenant_id: str) -> int:
    """Return the last record whose checkpoint was written to the tenant's file; 0 without any."""
    chains = AuditChain.objects.filter(tenant_id=tenant_id)
    return chains.values_list("outside_sequence", flat=True).first() or 0


def is_file_lost(tenant_id: str) -> bool:
    """Say whether the file on this machine can be read and lacks a checkpoint that was written
    to it. Raises `signing.KeyUnusable`."""
    # Read before the file, which has it first.
    number = written_outside(tenant_id)
    try:
        return _last_in_file(tenant_id) < number
    except OSError:
        return False


def accept_loss(actor: Actor, *, now: datetime | None = None) -> None:
    """Record in the actor's chain that its checkpoint file lost lines, sign the head with that
    record, and write to the file again what the database has.

    Raises `ChainDiffers`, `signing.KeyUnusable`.
    """
    now = now or clocks.now()
    details = {"written": written_outside(actor.tenant_id)}
    # A chain that differs from what was signed is refused before anything is recorded.
    _create_checkpoint(actor.tenant_id, now, is_loss_accepted=True)
    with transaction.atomic():
        record.write(AuditEvent.CHECKPOINTS_REWRITTEN, actor, now, details=details)
    _create_checkpoint(actor.tenant_id, now, is_loss_accepted=True)
    append_to_file(actor.tenant_id, is_loss_accepted=True)


def sign_moved_heads() -> int:
    """Sign every chain whose head no trusted key has signed, append what the files lack, and
    return how many were signed. A chore calls this."""
    count = 0
    for head in list(AuditChain.objects.order_by("tenant_id")):
        newest = checkpoint_trust.newest_row(head.tenant_id)
        if newest and (newest.sequence, newest.hash) == (head.last_sequence, head.last_hash):
            # It could perhaps not be written when it was signed.
            if not is_in_file(head.tenant_id, newest.sequence):
                append_to_file(head.tenant_id)
            continue
        try:
            count += sign_head(head.tenant_id) is not None
        except signing.KeyUnusable:
            raise
        except Exception as exc:
            # Whatever is wrong with one chain, the others are signed.
            metrics.checkpoint_failures.inc()
            logger.error("checkpoint_refused", tenant=head.tenant_id, error=str(exc))
    measure_unvouched()
    return count


def measure_unvouched() -> None:
    """Set the metric of each chain to its oldest record that no trusted line of its file vouches
    for. Each process does this for itself, also while nobody signs."""
    for head in list(AuditChain.objects.all()):
        try:
            last = _last_in_file(head.tenant_id)
        except (OSError, signing.KeyUnusable):
            last = 0
        records = AuditRecord.objects.filter(tenant_id=head.tenant_id, sequence__gt=last)
        times = records.order_by("sequence").values_list("at", flat=True)
        metrics.set_unvouched(head.tenant_id, times.first())


def is_newest_in_file(tenant_id: str) -> bool:
    """Say whether the newest checkpoint of a chain is in its file on this machine."""
    newest = checkpoint_trust.newest_row(tenant_id)
    return newest is None or is_in_file(tenant_id, newest.sequence)


def is_in_file(tenant_id: str, sequence: int) -> bool:
    """Say whether the file on this machine has a checkpoint of this record or a later one."""
    try:
        return _last_in_file(tenant_id) >= sequence
    except (OSError, signing.KeyUnusable):
        return False


def _last_in_file(tenant_id: str) -> int:
    """Return the number of the last record that a trusted line of the file vouches for; 0 without
    any."""
    keys = signing.trusted_keys()

    def last_of(lines: Iterable[tuple[str, str] | None]) -> int:
        statements = (checkpoint_trust.read(tenant_id, *line, keys) for line in lines if line)
        return max((each.sequence for each in statements if each), default=0)

    # Somebody may have filled the end of the file with other lines: then read all of it.
    return last_of(checkpoint_files.last_lines(tenant_id)) or last_of(
        checkpoint_files.lines(tenant_id)
    )
