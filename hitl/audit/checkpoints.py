"""Signed checkpoints of the chains' heads: made, kept in the database, and written outside it.

`hitl.audit.checkpoint_statement` is what is signed; `hitl.audit.checkpoint_reader` reads it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.db.utils import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _
from structlog.stdlib import get_logger

from hitl import metrics
from hitl.audit import checkpoint_files, checkpoint_statement, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.signing import Trust
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord

logger = get_logger(__name__)


class ChainDiffers(Exception):
    """A chain is not what an earlier checkpoint says of it; it gets no new one."""


def sign_head(tenant_id: str, *, now: datetime | None = None) -> AuditCheckpoint | None:
    """Sign the head of a chain, if it has moved since, and write it outside the database too.

    Not inside a transaction: what is signed has to be committed, before and after. Raises
    `ChainDiffers`, `signing.KeyUnusable`; a folder that cannot be written is logged, and the
    next call writes what it lacks.
    """
    checkpoint = _create_checkpoint(tenant_id, now or timezone.now())
    append_to_file(tenant_id)
    return checkpoint


def _create_checkpoint(tenant_id: str, now: datetime) -> AuditCheckpoint | None:
    key = signing.signing_key()
    newest = _newest_statement(tenant_id)
    # After that: another process may sign a head that this one has not seen.
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    checkpoints = AuditCheckpoint.objects.filter(tenant_id=tenant_id)
    _check_signed_records_exist(tenant_id, newest, head)
    if head.last_sequence == 0:
        return None
    if checkpoints.filter(sequence=head.last_sequence, key_id=key.key_id).exists():
        return None
    at = now.astimezone(UTC).isoformat(timespec="microseconds")
    statement = CheckpointStatement(tenant_id, head.last_sequence, head.last_hash, at, key.key_id)
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
        # Another process signed the same head at the same moment.
        return None


def _newest_statement(tenant_id: str) -> CheckpointStatement | None:
    """Return the newest of a chain's checkpoints that are ours, in the database or outside."""
    keys = signing.trusted_keys()
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("-sequence")
    texts = [(row.statement, row.signature) for row in rows[:1]]
    try:
        texts += checkpoint_files.last_lines(tenant_id)
    except OSError as exc:
        # No reason to sign nothing: what cannot be read is told again when it is written.
        logger.warning("checkpoints_outside_not_read", tenant=tenant_id, error=str(exc))
    newest: CheckpointStatement | None = None
    for text, signature in texts:
        statement = _read_trusted(tenant_id, text, signature, keys)
        if statement and (newest is None or statement.sequence > newest.sequence):
            newest = statement
    return newest


def _read_trusted(
    tenant_id: str, text: str, signature: str, keys: dict[str, bytes]
) -> CheckpointStatement | None:
    """Return what a text states, if it is of this chain and signed by a known key."""
    statement = checkpoint_statement.read(text)
    if statement is None or statement.tenant_id != tenant_id:
        return None
    trust = signing.signature_trust(statement.key_id, text.encode(), signature, keys)
    return statement if trust is Trust.KNOWN else None


def _check_signed_records_exist(
    tenant_id: str, newest: CheckpointStatement | None, head: AuditChain
) -> None:
    """Raise `ChainDiffers` if the chain has lost what the newest checkpoint says it had."""
    expected = [(newest.sequence, newest.hash)] if newest else []
    expected += [(head.last_sequence, head.last_hash)] if head.last_sequence else []
    for sequence, digest in expected:
        record = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=sequence)
        if sequence > head.last_sequence or digest not in record.values_list("hash", flat=True):
            raise ChainDiffers(
                _("Record %(sequence)d is not what it was when it was signed. Verify the chain.")
                % {"sequence": sequence}
            )


def append_to_file(tenant_id: str) -> int:
    """Append to the tenant's file what it lacks of the database's checkpoints; return how many.

    A checkpoint is committed first and written then: a crash in between loses nothing, since
    every later call, in whichever process, writes what is missing. What cannot be written is
    logged and counted.
    """
    keys = signing.trusted_keys()

    def checkpoints_after(after: int) -> Iterator[tuple[int, str, str]]:
        rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id, sequence__gt=after)
        for row in rows.order_by("sequence", "id").iterator(chunk_size=500):
            # What somebody slipped into the table would keep out what comes after it.
            text = row.statement.encode()
            if signing.signature_trust(row.key_id, text, row.signature, keys) is Trust.KNOWN:
                yield row.sequence, row.statement, row.signature

    def trusted_sequence(text: str, signature: str) -> int:
        statement = _read_trusted(tenant_id, text, signature, keys)
        return statement.sequence if statement else 0

    try:
        return checkpoint_files.append(tenant_id, checkpoints_after, trusted_sequence)
    except OSError as exc:
        metrics.checkpoint_failures.inc()
        logger.error("checkpoint_not_written_outside", tenant=tenant_id, error=str(exc))
        return 0


def sign_moved_heads() -> int:
    """Sign every chain whose head moved since its last checkpoint, and write outside whatever is
    not there yet; return how many were signed. The work of a chore."""
    last_signed = (
        AuditCheckpoint.objects.filter(tenant_id=OuterRef("tenant_id"))
        .order_by()
        .values("tenant_id")
        .annotate(last=Max("sequence"))
        .values("last")
    )
    chains = AuditChain.objects.filter(last_sequence__gt=0).annotate(signed=Subquery(last_signed))
    moved = chains.filter(Q(signed__isnull=True) | ~Q(signed=F("last_sequence")))
    count = 0
    for tenant_id in list(moved.order_by("tenant_id").values_list("tenant_id", flat=True)):
        try:
            count += sign_head(tenant_id) is not None
        except ChainDiffers as exc:
            metrics.checkpoint_failures.inc()
            logger.error("checkpoint_refused", tenant=tenant_id, error=str(exc))
    # Those that no folder took when they were made.
    newest = AuditCheckpoint.objects.order_by().values("tenant_id").annotate(last=Max("sequence"))
    for row in newest:
        if not is_in_file(row["tenant_id"], row["last"]):
            append_to_file(row["tenant_id"])
    return count


def is_newest_in_file(tenant_id: str) -> bool:
    """Say whether the newest checkpoint of a chain is in its file on this machine, too."""
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("-sequence")
    newest = rows.values_list("sequence", flat=True).first()
    return newest is None or is_in_file(tenant_id, newest)


def is_in_file(tenant_id: str, sequence: int) -> bool:
    """Say whether the file on this machine holds a checkpoint of this record or a later one."""
    try:
        lines = checkpoint_files.last_lines(tenant_id)
        keys = signing.trusted_keys()
    except (OSError, signing.KeyUnusable):
        return False
    statements = (_read_trusted(tenant_id, text, signature, keys) for text, signature in lines)
    return any(each is not None and each.sequence >= sequence for each in statements)
