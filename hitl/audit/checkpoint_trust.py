"""Reads the checkpoints of a chain that a trusted key signed; no others count."""

from __future__ import annotations

from structlog.stdlib import get_logger

from hitl.audit import checkpoint_files, checkpoint_statement, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.signing import Trust
from hitl.models import AuditCheckpoint

logger = get_logger(__name__)


def newest_row(tenant_id: str) -> AuditCheckpoint | None:
    """Return the newest checkpoint of a chain in the database that a trusted key signed. Raises
    `signing.KeyUnusable`."""
    keys = signing.trusted_keys()
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id, key_id__in=keys)
    ordered = rows.order_by("-sequence", "-id").iterator(chunk_size=100)
    return next((row for row in ordered if statement_of(row, keys) is not None), None)


def vouched(tenant_id: str) -> int:
    """Return the last record that a trusted checkpoint in the database vouches for; 0 without."""
    newest = newest_row(tenant_id)
    return newest.sequence if newest else 0


def statement_of(row: AuditCheckpoint, keys: dict[str, bytes]) -> CheckpointStatement | None:
    """Return what a row states, if a trusted key signed it and its columns say the same."""
    statement = read(row.tenant_id, row.statement, row.signature, keys)
    stated = (statement.sequence, statement.hash, statement.key_id) if statement else None
    return statement if stated == (row.sequence, row.hash, row.key_id) else None


def newest_statement(tenant_id: str) -> CheckpointStatement | None:
    """Return the newest trusted checkpoint of a chain, from the database or the file."""
    keys = signing.trusted_keys()
    row = newest_row(tenant_id)
    texts = [(row.statement, row.signature)] if row else []
    try:
        texts += checkpoint_files.last_lines(tenant_id)
    except OSError as exc:
        # The head is signed all the same; appending to the file reports the error again.
        logger.warning("checkpoints_outside_not_read", tenant=tenant_id, error=str(exc))
    newest: CheckpointStatement | None = None
    for text, signature in texts:
        statement = read(tenant_id, text, signature, keys)
        if statement and (newest is None or statement.sequence > newest.sequence):
            newest = statement
    return newest


def read(
    tenant_id: str, text: str, signature: str, keys: dict[str, bytes]
) -> CheckpointStatement | None:
    """Return what a text states, if it is of this chain and signed by a trusted key."""
    statement = checkpoint_statement.read(text)
    if statement is None or statement.tenant_id != tenant_id:
        return None
    trust = signing.signature_trust(statement.key_id, text.encode(), signature, keys)
    return statement if trust is Trust.KNOWN else None
