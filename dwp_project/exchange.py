"""Sends several statements to the database in one exchange, where it takes them so.

A decision takes a dozen statements, of which each waits for the database and back. PostgreSQL takes
several in one message and answers them together; SQLite runs in the process and takes them one by
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Field, Model
from psycopg.pq import TransactionStatus

M = TypeVar("M", bound=Model)
Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement and its parameters, as a cursor of Django's takes them."""

    sql: str
    parameters: Sequence[Any] = ()


# What columns of these models' kinds take as it is.
_PLAIN = (str, int, bool, type(None))
_BEGIN, _COMMIT = Statement("BEGIN"), Statement("COMMIT")


def send(*statements: Statement, ends_transaction: bool = False) -> list[Rows]:
    """Run the statements in their order; return the rows of each, none of one that has no rows.

    Where the database takes it so, the first of an outermost `atomic` block begins its transaction
    in the same exchange, and with `ends_transaction` the block is committed in it: its caller then
    leaves the block at once. Raises `django.db.Error` of the first statement that fails; none after
    it runs.
    """
    if connection.vendor != "postgresql":
        return [_run(statement) for statement in statements]
    is_outermost = connection.in_atomic_block and not connection.savepoint_ids
    begin = [_BEGIN] if is_outermost and _is_unbegun() else []
    end = [_COMMIT] if is_outermost and ends_transaction else []
    sent = [*begin, *statements, *end]
    with connection.cursor() as cursor:
        cursor.execute(
            ";\n".join(statement.sql for statement in sent),
            [value for statement in sent for value in statement.parameters],
        )
        answers: list[Rows] = []
        while len(answers) < len(sent):
            # Not `description`, which describes each column.
            answers.append(cursor.fetchall() if cursor.pgresult.nfields else [])
            cursor.nextset()
    if end:
        # Whatever else the block does is a transaction again.
        connection.connection.autocommit = False
    return answers[len(begin) : len(begin) + len(statements)]


def _is_unbegun() -> bool:
    """Say whether the block's transaction is still to be begun, and have the driver leave that to
    the statements: by itself it asks the database for it in an exchange of its own."""
    raw = connection.connection
    if raw is None or raw.info.transaction_status != TransactionStatus.IDLE:
        return False
    # Commit, rollback and the end of the block work the same; the block's end sets it as well.
    raw.autocommit = True
    return True


def _run(statement: Statement) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.parameters)
        return cursor.fetchall() if cursor.description else []


def read(*questions: tuple[type[M], Statement]) -> list[list[M]]:
    """Return the objects of each statement's rows, which have every column of the model's table in
    the order of its fields (`columns`)."""
    answers = send(*(statement for _, statement in questions))
    return [
        [one(model, row) for row in rows]
        for (model, _), rows in zip(questions, answers, strict=True)
    ]


def one(model: type[M], row: Sequence[Any], fields: Sequence[Field[Any, Any]] | None = None) -> M:
    """Return the object of a row that has `columns`, or those of these fields alone: the rest is
    read when it is asked for."""
    fields = fields or model._meta.concrete_fields
    if connection.vendor != "postgresql":
        row = list(map(_converted, fields, row))
    return model.from_db(connection.alias, [field.attname for field in fields], row)


def _converted(field: Field[Any, Any], value: Any) -> Any:
    """Return a value as the field has it: SQLite knows neither times nor booleans."""
    column = field.cached_col
    for convert in (
        *connection.ops.get_db_converters(column),
        *field.get_db_converters(connection),
    ):
        value = convert(value, column, connection)
    return value


@cache
def columns(model: type[Model], table: str = "") -> str:
    """Return the columns of the model's table as SQL, in the order of its fields."""
    prefix = f"{table}." if table else ""
    return ", ".join(f"{prefix}{field.attname}" for field in model._meta.concrete_fields)


def insert(row: Model) -> Statement:
    """Return the statement that inserts a new row, and answers its key."""
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    return Statement(_insert_into(type(row)), [_prepared(field, row) for field in fields])


def _prepared(field: Field[Any, Any], row: Model) -> Any:
    value = getattr(row, field.attname)
    # Nothing is to be done with these, which most are.
    return value if type(value) in _PLAIN else field.get_db_prep_save(value, connection)


@cache
def _insert_into(model: type[Model]) -> str:
    names = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    marks = ", ".join(["%s"] * len(names))
    return f"INSERT INTO {model._meta.db_table} ({', '.join(names)}) VALUES ({marks}) RETURNING id"  # noqa: S608


def adapted(value: Any) -> Any:
    """Return a value as a parameter: times as the database takes them, all else as it is."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
