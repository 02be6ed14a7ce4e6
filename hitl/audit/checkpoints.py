"""Signs checkpoints of the chains' heads and stores them in the database and in files outside it.

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
from hitl.audit.hashing import hash_of
from hitl.audit.record_signatures import ChainSignatures
from hitl.audit.signing import Trust
from hitl.models import AuditChain, AuditCheckpoint, AuditRecord

logger = get_logger(__name__)


class ChainDiffers(Exception):
    """A chain differs from what an earlier checkpoint says of it, and gets no new checkpoint."""


def sign_head(tenant_id: str, *, now: datetime | None = None) -> AuditCheckpoint | None:
    """Sign the head of a chain, if it moved since the last checkpoint, and append it to the file.

    Call it outside a transaction: only a committed head may be signed, and only a committed
    checkpoint may be written to the file. Raises `ChainDiffers`, `signing.KeyUnusable`; a folder
    that cannot be written is logged, and the next call writes what the file lacks.
    """
    checkpoint = _create_checkpoint(tenant_id, now or timezone.now())
    append_to_file(tenant_id)
    return checkpoint


def _create_checkpoint(tenant_id: str, now: datetime) -> AuditCheckpoint | None:
    key = signing.signing_key()
    newest = _newest_statement(tenant_id)
    # Read after the newest checkpoint: another process may sign a later head in between.
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    checkpoints = AuditCheckpoint.objects.filter(tenant_id=tenant_id)
    _check_signed_records_exist(tenant_id, newest, head)
    if head.last_sequence == 0:
        return None
    if checkpoints.filter(sequence=head.last_sequence, key_id=key.key_id).exists():
        return None
    _check_records_are_signed(tenant_id, newest.sequence if newest else 0, head.last_sequence)
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
    """Return the newest trusted checkpoint of a chain, from the database or the file."""
    keys = signing.trusted_keys()
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("-sequence")
    texts = [(row.statement, row.signature) for row in rows[:1]]
    try:
        texts += checkpoint_files.last_lines(tenant_id)
    except OSError as exc:
        # The head is signed all the same; appending to the file reports the error again.
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
    """Return what a text states, if it is of this chain and signed by a trusted key."""
    statement = checkpoint_statement.read(text)
    if statement is None or statement.tenant_id != tenant_id:
        return None
    trust = signing.signature_trust(statement.key_id, text.encode(), signature, keys)
    return statement if trust is Trust.KNOWN else None


def _check_signed_records_exist(
    tenant_id: str, newest: CheckpointStatement | None, head: AuditChain
) -> None:
    """Raise `ChainDiffers` if the chain lost the record of its newest checkpoint or its head."""
    expected = [(newest.sequence, newest.hash)] if newest else []
    expected += [(head.last_sequence, head.last_hash)] if head.last_sequence else []
    for sequence, digest in expected:
        record = AuditRecord.objects.filter(tenant_id=tenant_id, sequence=sequence)
        if sequence > head.last_sequence or digest not in record.values_list("hash", flat=True):
            raise ChainDiffers(
                _("Record %(sequence)d is not what it was when it was signed. Verify the chain.")
                % {"sequence": sequence}
            )


def _check_records_are_signed(tenant_id: str, vouched: int, last: int) -> None:
    """Raise `ChainDiffers` if a record that no checkpoint vouches for yet carries no good
    signature: the next checkpoint would vouch for it."""
    signatures = ChainSignatures(tenant_id, vouched=vouched)
    records = AuditRecord.objects.filter(
        tenant_id=tenant_id, sequence__gt=vouched, sequence__lte=last
    )
    for record in records.order_by("sequence").iterator(chunk_size=500):
        if record.hash != hash_of(record) or signatures.lacks_signature(record):
            raise ChainDiffers(
                _("Record %(sequence)d carries no good signature. Verify the chain.")
                % {"sequence": record.sequence}
            )


def append_to_file(tenant_id: str) -> int:
    """Append the checkpoints that the tenant's file lacks; return how many.

    A checkpoint is committed before it is appended. A crash in between loses nothing, since the
    next call in any process appends what is missing. A failure is logged and counted.
    """
    keys = signing.trusted_keys()

    def checkpoints_after(after: int) -> Iterator[tuple[int, str, str]]:
        rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id, sequence__gt=after)
        for row in rows.order_by("sequence", "id").iterator(chunk_size=500):
            # A forged row with a high number would keep the later ones out of the file.
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
    """Sign every chain whose head moved since its last checkpoint, append what the files lack,
    and return how many were signed. A chore calls this."""
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
    # Append checkpoints that could not be written when they were signed.
    newest = AuditCheckpoint.objects.order_by().values("tenant_id").annotate(last=Max("sequence"))
    for row in newest:
        if not is_in_file(row["tenant_id"], row["last"]):
            append_to_file(row["tenant_id"])
    return count


def is_newest_in_file(tenant_id: str) -> bool:
    """Say whether the newest checkpoint of a chain is in its file on this machine."""
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("-sequence")
    newest = rows.values_list("sequence", flat=True).first()
    return newest is None or is_in_file(tenant_id, newest)


def is_in_file(tenant_id: str, sequence: int) -> bool:
    """Say whether the file on this machine has a checkpoint of this record or a later one."""
    try:
        lines = checkpoint_files.last_lines(tenant_id)
        keys = signing.trusted_keys()
    except (OSError, signing.KeyUnusable):
        return False
    statements = (_read_trusted(tenant_id, text, signature, keys) for text, signature in lines)
    return any(each is not None and each.sequence >= sequence for each in statements)
