"""What signed checkpoints, in the database and outside it, say of a chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from hitl.audit import checkpoint_files, checkpoint_statement, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.signing import Trust
from hitl.models import AuditCheckpoint


@dataclass(slots=True)
class SignedHeads:
    """What signed checkpoints say of one chain."""

    # Record number to the statements about it; no two differ in an honest deployment.
    statements: dict[int, list[CheckpointStatement]] = field(default_factory=dict)
    # A statement that does not carry the signature of the known key it names, if any.
    forged: tuple[int, str] | None = None
    in_database: int = 0
    in_files: int = 0
    by_unknown_keys: int = 0
    unreadable_lines: int = 0
    # Why the files could not be read, if they could not.
    files_error: str = ""

    @property
    def last(self) -> int:
        """The highest record number that is vouched for."""
        return max(self.statements, default=0)


def read_signed_heads(tenant_id: str) -> SignedHeads:
    """Return what the checkpoints in the database and those outside it say of a chain."""
    heads, keys = SignedHeads(), signing.trusted_keys()
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("sequence")
    for row in rows.iterator(chunk_size=1000):
        _add_statement(heads, tenant_id, row.statement, row.signature, keys)
        heads.in_database += 1
        statement = checkpoint_statement.read(row.statement)
        if statement is None or (statement.sequence, statement.hash) != (row.sequence, row.hash):
            heads.forged = heads.forged or (row.sequence, _("the database"))
    try:
        for line in checkpoint_files.lines(tenant_id):
            if line is None:
                heads.unreadable_lines += 1
            else:
                _add_statement(heads, tenant_id, *line, keys, is_outside=True)
                heads.in_files += 1
    except OSError as exc:
        heads.files_error = str(exc)
    return heads


def _add_statement(
    heads: SignedHeads,
    tenant_id: str,
    text: str,
    signature: str,
    keys: dict[str, bytes],
    *,
    is_outside: bool = False,
) -> None:
    statement = checkpoint_statement.read(text)
    if statement is None or statement.tenant_id != tenant_id:
        heads.unreadable_lines += 1
        return
    match signing.signature_trust(statement.key_id, text.encode(), signature, keys):
        case Trust.KNOWN:
            statements = heads.statements.setdefault(statement.sequence, [])
            if all(statement.hash != other.hash for other in statements):
                statements.append(statement)
        case Trust.UNKNOWN:
            heads.by_unknown_keys += 1
        case Trust.FORGED:
            where = _("the files") if is_outside else _("the database")
            heads.forged = heads.forged or (statement.sequence, where)


def tenants() -> list[str]:
    """Return the tenants of whose chains a checkpoint is left."""
    rows = AuditCheckpoint.objects.order_by().values_list("tenant_id", flat=True).distinct()
    return sorted({*rows, *_tenants_of_files()})


def _tenants_of_files() -> Iterator[str]:
    for path, texts in checkpoint_files.files():
        for text in texts:
            statement = checkpoint_statement.read(text)
            # A file says of whom it is by its name as well.
            if statement is not None and checkpoint_files.file_of(statement.tenant_id) == path:
                yield statement.tenant_id
                break
