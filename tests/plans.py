"""What the database does for a query, as `EXPLAIN (ANALYZE)` tells it: PostgreSQL only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

# The tables that grow without end.
LARGE = (
    "hitl_approvalrequest",
    "hitl_auditrecord",
    "hitl_outboxentry",
    "hitl_vote",
    "streaming_session",
    "streaming_event",
)
# The lists count up to 10,000 and look through at most as many, in two tables at once where they
# join. Everything else is far below; what reads a tenant, or all, is far above: 600,000 and more.
MOST_ROWS = 20_000
# What is pending can be counted and listed whole: these have nothing else, and people decide it.
OF_PENDING = ("request_open_of_tenant", "request_due")
_VERBS = ("SELECT", "UPDATE", "DELETE", "INSERT", "(SELECT", "WITH")
# In statements that are written as SQL names have no quotes.
_LARGE_NAMES = re.compile(rf"\b({'|'.join(LARGE)})\b")


@dataclass(frozen=True, slots=True)
class Read:
    """How one node of a plan has read a large table."""

    table: str
    by: str
    index: str
    rows: int
    blocks: int

    @property
    def is_bounded(self) -> bool:
        if self.index in OF_PENDING:
            return True
        # Where no row is where the next is: a page of the index and one of the table for each.
        most_blocks = 2 * MOST_ROWS
        return self.by != "Seq Scan" and self.rows <= MOST_ROWS and self.blocks <= most_blocks


@contextmanager
def captured() -> Iterator[list[str]]:
    """Collect the statements that are sent inside, but for those of transactions."""
    statements: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield statements
    # One exchange may have several, separated as `dwp_project.exchange` does.
    sent = (sql.strip() for query in queries for sql in query["sql"].split(";\n"))
    statements.extend(sql for sql in sent if sql.startswith(_VERBS))


def reads(statement: str) -> list[Read]:
    """Run a statement again, without effect, and return how it reads the large tables."""
    if not _LARGE_NAMES.search(statement):
        return []
    # One that only adds a row would add it twice.
    if statement.startswith("INSERT") and "SELECT" not in statement:
        return []
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The text holds its parameters: none are given, or `%` would be one.
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON) {statement}", None)
            plan = cursor.fetchone()[0]
        transaction.set_rollback(True)
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return [read for node in _nodes(plan[0]["Plan"]) for read in _read(node)]


def unbounded(statements: list[str]) -> list[str]:
    """Return what reads a large table otherwise than a bounded stretch of an index."""
    return [
        f"{read}: {statement[:2000]}"
        for statement in statements
        for read in reads(statement)
        if not read.is_bounded
    ]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


# An index's own scan below a bitmap names no table.
_TABLE_OF_INDEX = "SELECT tablename FROM pg_indexes WHERE indexname = %s"


def _read(node: dict[str, Any]) -> Iterator[Read]:
    kind = node["Node Type"]
    if "Scan" not in kind:
        return
    table = node.get("Relation Name")
    if table is None and (index := node.get("Index Name")):
        with connection.cursor() as cursor:
            cursor.execute(_TABLE_OF_INDEX, [index])
            table = cursor.fetchone()[0]
    if table not in LARGE:
        return
    passed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = node["Actual Rows"] + sum(node.get(name, 0) for name in passed)
    blocks = node.get("Shared Hit Blocks", 0) + node.get("Shared Read Blocks", 0)
    below = node.get("Plans") or [{}]
    index = node.get("Index Name") or below[0].get("Index Name", "")
    yield Read(table, kind, index, round(rows * node["Actual Loops"]), blocks)
