"""Reads what the signed checkpoints in the database and in the files say of a chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from hitl.audit import checkpoint_files, checkpoint_statement, checkpoints, signing
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.signing import Trust
from hitl.models import AuditCheckpoint


@dataclass(slots=True)
class SignedHeads:
    """What signed checkpoints say of one chain."""

    # Statements by record number; several of one number if their hashes differ.
    statements: dict[int, list[CheckpointStatement]] = field(default_factory=dict)
    # Record number and place of the first statement that the trusted key it names did not sign.
    forged: tuple[int, str] | None = None
    # Record numbers of the trusted statements in each place.
    numbers_in_database: set[int] = field(default_factory=set)
    numbers_in_files: set[int] = field(default_factory=set)
    # The last record whose checkpoint was written to the files, as the database notes it.
    written_outside: int = 0
    in_database: int = 0
    in_files: int = 0
    by_unknown_keys: int = 0
    unreadable_lines: int = 0
    # Why the files could not be read; empty if they could.
    files_error: str = ""

    @property
    def last(self) -> int:
        """The highest record number that is vouched for."""
        return max(self.statements, default=0)

    @property
    def last_in_files(self) -> int:
        """The highest record number that a file vouches for."""
        return max(self.numbers_in_files, default=0)

    @property
    def is_file_lost(self) -> bool:
        """Whether the file can be read and lacks a checkpoint that was written to it."""
        return not self.files_error and self.last_in_files < self.written_outside

    @property
    def lost_in_database(self) -> int:
        """How many checkpoints the files have and the database lacks."""
        return len(self.numbers_in_files - self.numbers_in_database)


def read_signed_heads(tenant_id: str) -> SignedHeads:
    """Return what the checkpoints of a chain say, in the database and in its file."""
    heads, keys = SignedHeads(), signing.trusted_keys()
    # Read before the file, which has it first.
    heads.written_outside = checkpoints.written_outside(tenant_id)
    try:
        for line in checkpoint_files.lines(tenant_id):
            if line is None:
                heads.unreadable_lines += 1
            else:
                _add_statement(heads, tenant_id, *line, keys, is_outside=True)
                heads.in_files += 1
    except OSError as exc:
        heads.files_error = str(exc)
    # Read after the file: a checkpoint is committed before it is appended.
    rows = AuditCheckpoint.objects.filter(tenant_id=tenant_id).order_by("sequence")
    for row in rows.iterator(chunk_size=1000):
        _add_statement(heads, tenant_id, row.statement, row.signature, keys)
        heads.in_database += 1
        statement = checkpoint_statement.read(row.statement)
        if statement is None or (statement.sequence, statement.hash) != (row.sequence, row.hash):
            heads.forged = heads.forged or (row.sequence, _("the database"))
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
            numbers = heads.numbers_in_files if is_outside else heads.numbers_in_database
            numbers.add(statement.sequence)
            statements = heads.statements.setdefault(statement.sequence, [])
            if all(statement.hash != other.hash for other in statements):
                statements.append(statement)
        case Trust.UNKNOWN:
            heads.by_unknown_keys += 1
        case Trust.FORGED:
            where = _("the files") if is_outside else _("the database")
            heads.forged = heads.forged or (statement.sequence, where)


def tenants() -> list[str]:
    """Return the tenants of whose chains a checkpoint is left, in the database or in a file."""
    rows = AuditCheckpoint.objects.order_by().values_list("tenant_id", flat=True).distinct()
    return sorted({*rows, *_tenants_of_files()})


def _tenants_of_files() -> Iterator[str]:
    for path, texts in checkpoint_files.files():
        for text in texts:
            statement = checkpoint_statement.read(text)
            # The name of the file has to fit the tenant, too.
            if statement is not None and checkpoint_files.file_of(statement.tenant_id) == path:
                yield statement.tenant_id
                break
