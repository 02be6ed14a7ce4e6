"""Reads, after a run, what the database and Redis hold."""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg
from redis.asyncio import Redis

from tests.chaos.cluster import Cluster, Deployment
from tests.chaos.stored import (
    OPENINGS,
    OutboxRow,
    Record,
    Stored,
    StoredEvent,
    StoredRequest,
    StoredSession,
)

_REQUESTS = """
SELECT row_number() OVER (ORDER BY created_at, id), request_id, session_id, tenant_id, origin,
    status, extract(epoch FROM expires_at)::float
FROM hitl_approvalrequest
"""
# The time of the commit, not of the clock that was read before it: a process may have been
# stopped in between. Audit records and events are never updated, so it is their own.
_RECORDS = """
SELECT request_id, event, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float
FROM hitl_auditrecord WHERE request_id <> '' AND event LIKE 'request:%%' ORDER BY id
"""
_ENDS = frozenset(
    f"request:{status}" for status in ("approved", "rejected", "expired", "cancelled")
)
_OUTBOX = """
SELECT r.request_id, o.signal, o.outcome, o.attempts, o.receivers
FROM hitl_outboxentry o JOIN hitl_approvalrequest r ON r.id = o.request_id
"""
_UNSETTLED = """
SELECT EXISTS (SELECT FROM hitl_approvalrequest WHERE status = 'pending' AND origin <> 'redis')
    OR EXISTS (SELECT FROM streaming_session WHERE status = 'running')
"""
_SESSIONS = "SELECT coalesce(key, id), session_id, status FROM streaming_session"
_EVENTS = """
SELECT coalesce(s.key, s.id), e.sequence, e.name, e.payload,
    extract(epoch FROM pg_xact_commit_timestamp(e.xmin))::float
FROM streaming_event e JOIN streaming_session s ON s.id = e.session_id ORDER BY s.id, e.sequence
"""


def is_settled(cluster: Cluster) -> bool:
    """Say whether no request of ours waits any more and no session runs, in any deployment.

    Agents on Redis may leave theirs for five minutes.
    """
    for deployment in cluster.deployments:
        with deployment.connect() as connection:
            row = connection.execute(_UNSETTLED).fetchone()
        if row is None or row[0]:
            return False
    return True


async def read(cluster: Cluster, deployment: Deployment) -> Stored:
    """Return everything the checks need; the cluster is quiet by now."""
    stored = Stored(read_at=time.time())
    with deployment.connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _read_requests(connection, stored)
        _read_sessions(connection, stored)
    await _read_redis(cluster, deployment, stored)
    stored.are_chains_whole, stored.chains = await cluster.verify_audit(deployment)
    return stored


def _read_requests(connection: psycopg.Connection[Any], stored: Stored) -> None:
    for row in connection.execute(_REQUESTS):
        stored.requests[row[1]] = StoredRequest(*row)
    for request_id, event, at in connection.execute(_RECORDS):
        if event in OPENINGS | _ENDS and request_id in stored.requests:
            stored.requests[request_id].records.append(Record(event, at))
    for request_id, *entry in connection.execute(_OUTBOX):
        stored.requests[request_id].outbox.append(OutboxRow(*entry))


def _read_sessions(connection: psycopg.Connection[Any], stored: Stored) -> None:
    for row in connection.execute(_SESSIONS):
        stored.sessions[row[0]] = StoredSession(*row)
    for number, *event in connection.execute(_EVENTS):
        stored.sessions[number].events.append(StoredEvent(*event))


async def _read_redis(cluster: Cluster, deployment: Deployment, stored: Stored) -> None:
    number = deployment.redis_number
    async with Redis(port=cluster.redis_port, db=number, decode_responses=True) as redis:
        async for key in redis.scan_iter("hitl:request:*", count=1000):
            request = stored.requests.get(key.removeprefix("hitl:request:"))
            value = await redis.get(key)
            if request is not None and value is not None:
                request.in_redis = _status(str(value))
        async for key in redis.scan_iter("hitl:signal:*", count=1000):
            value = await redis.get(key)
            if value is not None:
                stored.signals[key.removeprefix("hitl:signal:")] = str(value)
    stored.redis_read_at = time.time()


def _status(value: str) -> str:
    try:
        return str(json.loads(value)["status"])
    except (ValueError, KeyError, TypeError):
        return f"malformed: {value[:100]}"
