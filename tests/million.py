"""Requests, and three times as many audit records, in PostgreSQL, made by the database itself.

As many requests as `TEST_REQUESTS` says: 100,000 in every run, a million in `make test-million`.
For tests on plans: the hashes are no hashes, and the contexts are all alike. What is frequent
in the whole is rare, or long ago, in its combinations: there a plan that reads until it has found
enough reads everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper

BIG, SMALL = "big", "small"
OTHERS = [f"tenant-{number:02}" for number in range(40)]
REQUESTS = int(os.environ.get("TEST_REQUESTS") or 100_000)
# Whatever there is, it happened in the same 231 days.
_SECONDS_APART = 20_000_000 // REQUESTS
# Half of all requests; nobody has rejected one.
FREQUENT_ACTION = "send_mail"
# The digest of half of them.
SAME_ARGUMENTS = "5" * 64
# Opened a quarter of all requests, and none of the younger half.
FORMER_USER = "formerly"

# Of every hundred requests the first sixty belong to one tenant, the rest to forty others but
# for ten of a small one.
_TENANT = (
    f"CASE WHEN n % {REQUESTS // 10} = 99 THEN 'small' WHEN n % 100 < 60 THEN 'big' "
    "ELSE 'tenant-' || lpad((n % 40)::text, 2, '0') END"
)
_ACTION = "CASE WHEN n % 2 = 0 THEN 'send_mail' ELSE 'action_' || n % 199 END"
_USER = f"CASE WHEN n <= {REQUESTS // 2} AND n % 2 = 0 THEN 'formerly' ELSE 'user' || n % 1000 END"
_AT = f"now() - ({REQUESTS} - n) * interval '{_SECONDS_APART} seconds'"
_PENDING = (
    f"(n > {REQUESTS * 9 // 10} AND n % 2 = 0 OR n % {REQUESTS // 10} = 99 AND n > {REQUESTS // 2})"
)
# A hundred sessions, of a process that has ended.
_RUNS = f"(n % {REQUESTS // 1000} = 1)"

_STATEMENTS = {
    "hitl_approvalrequest": f"""
        INSERT INTO hitl_approvalrequest (
            request_id, session_id, tenant_id, user_id, origin, agent_id, action_type, message,
            context_text, context_digest, body_digest, status, created_at, expires_at,
            decided_at, decided_by, decided_channel, reason, is_missed_by_redis, approvals)
        SELECT 'req_' || n, 'session_' || n / 3, {_TENANT}, {_USER}, 'rest', '', {_ACTION},
            'May I do ' || n || '?', '{{"targets":["mail-17"],"count":3}}',
            CASE WHEN n % 4 = 0 THEN '{SAME_ARGUMENTS}' ELSE md5(n::text) END, md5(n::text),
            CASE WHEN {_PENDING} THEN 'pending' WHEN n < 1000 THEN 'cancelled'
                WHEN n % 3 = 0 AND n % 2 = 1 THEN 'rejected' ELSE 'approved' END,
            {_AT},
            CASE WHEN {_PENDING} THEN now() + (3600 + n % 86400) * interval '1 second'
                ELSE {_AT} END,
            CASE WHEN {_PENDING} THEN NULL ELSE {_AT} END,
            CASE WHEN {_PENDING} THEN '' ELSE 'approver' || n % 50 END,
            CASE WHEN {_PENDING} THEN '' ELSE 'rest' END, '', false, 0
        FROM generate_series(1, {REQUESTS}) n""",  # noqa: S608
    "hitl_auditrecord": f"""
        INSERT INTO hitl_auditrecord (
            tenant_id, sequence, event, request_id, session_id, actor, actor_kind, channel, at,
            source_address, user_agent, context_digest, form, action_type, details,
            previous_hash, hash)
        SELECT tenant, row_number() OVER (PARTITION BY tenant ORDER BY n, part),
            (ARRAY['request:opened', 'request:approved', 'user:signed_in'])[part],
            CASE part WHEN 3 THEN '' ELSE 'req_' || n END, 'session_' || n / 3,
            CASE part WHEN 1 THEN {_USER} ELSE 'approver' || n % 50 END, 'user', 'rest', {_AT},
            '127.0.0.1', '', md5(n::text), 2,
            CASE part WHEN 3 THEN '' ELSE {_ACTION} END, '{{}}', '0', '0'
        FROM (SELECT n, part, {_TENANT} AS tenant
              FROM generate_series(1, {REQUESTS}) n, generate_series(1, 3) part) made""",  # noqa: S608
    "hitl_auditchain": """
        INSERT INTO hitl_auditchain (tenant_id, last_sequence, last_hash)
        SELECT tenant_id, max(sequence), '0' FROM hitl_auditrecord GROUP BY 1""",
    "hitl_outboxentry": """
        INSERT INTO hitl_outboxentry (
            request_id, signal, created_at, attempts, receivers, outcome, attempted_at, due_at,
            error)
        SELECT id, '{}', decided_at, 1, 1,
            CASE WHEN id % 1000 = 1 THEN 'pending' ELSE 'delivered' END, decided_at, decided_at, ''
        FROM hitl_approvalrequest WHERE status <> 'pending'""",
    "hitl_vote": """
        INSERT INTO hitl_vote (request_id, user_id, person, role, channel, voted_at)
        SELECT id, 'approver1', 'approver1', 'approver', 'rest', created_at
        FROM hitl_approvalrequest WHERE id % 10 = 0""",
    "streaming_session": f"""
        INSERT INTO streaming_session (
            session_id, tenant_id, user_id, agent, agent_id, source, caller_type, prompt,
            context_text, thread_id, status, last_sequence, created_at, ended_at, lease_owner,
            lease_number)
        SELECT 'session_' || n, {_TENANT}, {_USER}, 'default', '', 'FRONTEND', 'USER', 'Do it.',
            '{{}}', '', CASE WHEN {_RUNS} THEN 'running' ELSE 'completed' END, 8, {_AT},
            CASE WHEN {_RUNS} THEN NULL ELSE {_AT} END,
            CASE WHEN {_RUNS} THEN 'ended' ELSE '' END, 1
        FROM generate_series(1, {REQUESTS // 10}) n""",  # noqa: S608
    "streaming_event": """
        INSERT INTO streaming_event (session_id, sequence, name, payload, created_at)
        SELECT id, part, 'content', '{"content":"Done."}', created_at
        FROM streaming_session, generate_series(1, 8) part""",
}
# In the order in which they may leave the log: a table in it may not point at one that is not.
_UNLOGGED = (
    "hitl_outboxentry",
    "hitl_vote",
    "hitl_approvalrequest",
    "hitl_auditrecord",
    "streaming_event",
    "streaming_session",
)


@contextmanager
def database() -> Iterator[None]:
    """Have the default connection use a database of its own, with all of it."""
    before = connection.settings_dict["NAME"]
    name = f"{before}_million"
    _run_beside(f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
    _use(name)
    try:
        call_command("migrate", verbosity=0)
        fill()
        yield
    finally:
        _use(before)
        _run_beside(f'DROP DATABASE "{name}"')


def fill() -> None:
    """Fill the tables, without what slows it down meanwhile: indexes, checks, the log."""
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '256MB'")
        for table in _UNLOGGED:
            cursor.execute(f"ALTER TABLE {table} SET UNLOGGED")
        for table, statement in _STATEMENTS.items():
            again = _bared(cursor, table)
            cursor.execute(statement)
            for made in again:
                cursor.execute(made)
            # Not only statistics: which pages an index alone can answer for.
            cursor.execute(f"VACUUM ANALYZE {table}")


def _bared(cursor: CursorWrapper, table: str) -> list[str]:
    """Take a table's indexes and constraints away; return what makes them again."""
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype IN ('u', 'f')",
        [table],
    )
    constraints = cursor.fetchall()
    for name, _definition in constraints:
        cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND NOT EXISTS "
        "(SELECT FROM pg_constraint WHERE conname = indexname)",
        [table],
    )
    indexes = cursor.fetchall()
    for name, _definition in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    return [
        *(definition for _name, definition in indexes),
        *(f'ALTER TABLE {table} ADD CONSTRAINT "{n}" {made}' for n, made in constraints),
    ]


def _run_beside(*statements: str) -> None:
    made: Any = connection
    with made._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _use(name: str) -> None:
    connection.close()
    made: Any = connection
    made.close_pool()
    connection.settings_dict["NAME"] = name
