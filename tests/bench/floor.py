"""The floor: the SQL and the Redis call that a decision cannot do without, and nothing else."""

from __future__ import annotations

import hashlib
import threading
import time

import psycopg
import redis

TABLES = """
CREATE TABLE IF NOT EXISTS bench_request (
    id text PRIMARY KEY, status text NOT NULL, decided_by text, decided_at timestamptz);
CREATE TABLE IF NOT EXISTS bench_audit (
    id bigserial PRIMARY KEY, number bigint NOT NULL, request_id text NOT NULL, hash text NOT NULL);
CREATE TABLE IF NOT EXISTS bench_head (
    tenant text PRIMARY KEY, number bigint NOT NULL, hash text NOT NULL);
CREATE TABLE IF NOT EXISTS bench_outbox (
    id bigserial PRIMARY KEY, request_id text NOT NULL UNIQUE, sent_at timestamptz);
INSERT INTO bench_head VALUES ('tenant1', 0, '') ON CONFLICT DO NOTHING;
"""
SEND = (
    "redis.call('SET', KEYS[1], ARGV[1], 'EX', 300) return redis.call('PUBLISH', KEYS[2], ARGV[1])"
)


def delays(url: str, redis_port: int, times: int) -> list[float]:
    """Decide `times` requests; return the milliseconds until a subscriber has each decision."""
    arrivals: list[float] = []
    has_arrived = threading.Semaphore(0)
    client = redis.Redis(port=redis_port)
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("bench-floor")

    def listen() -> None:
        while len(arrivals) < times:
            if subscriber.get_message(timeout=5.0) is not None:
                arrivals.append(time.perf_counter())
                has_arrived.release()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    send = client.register_script(SEND)
    values = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
        for number in range(times):
            request_id = f"floor-{time.time_ns()}-{number}"
            connection.execute("INSERT INTO bench_request VALUES (%s, 'pending')", [request_id])
            began_at = time.perf_counter()
            _decide(connection, request_id)
            send(keys=["bench-signal", "bench-floor"], args=[request_id])
            if not has_arrived.acquire(timeout=10):
                raise RuntimeError("the subscriber has not heard of a decision")
            values.append((arrivals[-1] - began_at) * 1000)
    thread.join(10)
    subscriber.close()
    client.close()
    return values


def _decide(connection: psycopg.Connection[tuple[object, ...]], request_id: str) -> None:
    with connection.transaction():
        connection.execute(
            "UPDATE bench_request SET status = 'approved', decided_by = 'x', decided_at = now()"
            " WHERE id = %s AND status = 'pending'",
            [request_id],
        )
        row = connection.execute(
            "SELECT number, hash FROM bench_head WHERE tenant = 'tenant1' FOR UPDATE"
        ).fetchone()
        assert row is not None
        digest = hashlib.sha256(f"{row[1]}{request_id}".encode()).hexdigest()
        connection.execute(
            "INSERT INTO bench_audit (number, request_id, hash) VALUES (%s, %s, %s)",
            [row[0], request_id, digest],
        )
        connection.execute("INSERT INTO bench_outbox (request_id) VALUES (%s)", [request_id])
        connection.execute(
            "UPDATE bench_head SET number = number + 1, hash = %s WHERE tenant = 'tenant1'",
            [digest],
        )
