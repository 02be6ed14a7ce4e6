"""Reads the state of Redis: its time, its run, the signals (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis says before the database is asked: its own time in seconds, which bounds how long
    the database's answer may be acted on; when the last complete scan of requests began; and until
    when agents may be waiting whose questions could not be adopted, by session."""

    asked_at: float
    scanned_at: datetime | None = None
    unadopted: dict[str, datetime] = field(default_factory=dict)


def look(session_ids: Sequence[str] = ()) -> Look:
    """Look at Redis before the database is asked about these sessions; raises
    `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.time()
    if session_ids:
        pipeline.mget([redis_keys.scanned_key(), *map(redis_keys.unadopted_key, session_ids)])
    (seconds, microseconds), *answers = pipeline.execute()
    scanned_at, *ends = map(_moment, answers[0] if answers else [None])
    unadopted = zip(session_ids, ends, strict=True)
    return Look(
        float(seconds + microseconds / 1_000_000),
        scanned_at,
        {session_id: until for session_id, until in unadopted if until is not None},
    )


def clock() -> float:
    """Return Redis's own time in seconds; raises `redis.RedisError`."""
    return look().asked_at


def note_scanned(began_at: float) -> None:
    """Store when a complete scan of requests began, so that every question written before that is
    adopted or refused by now; raises `redis.RedisError`."""
    redis_client().set(redis_keys.scanned_key(), f"{began_at:.6f}", ex=redis_keys.SESSION_TTL)


def note_unadopted(session_id: str, until: datetime) -> None:
    """Store until when an agent of the session may be waiting whose question could not be adopted;
    raises `redis.RedisError`."""
    key = redis_keys.unadopted_key(session_id)
    stored: Any = redis_client().get(key)
    earlier = _moment(stored)
    if earlier is None or earlier < until:
        redis_client().set(key, f"{until.timestamp():.6f}", ex=redis_keys.REQUEST_TTL)


def _moment(value: bytes | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def current_signal(session_id: str) -> str | None:
    """Return the session's signal of the last five minutes; raises `redis.RedisError`."""
    raw: Any = redis_client().get(redis_keys.signal_key(session_id))
    return None if raw is None else raw.decode("utf-8", "replace")


def signals_and_listeners(session_ids: Sequence[str]) -> list[tuple[str | None, int]]:
    """Return each session's signal and how many listen on its channel; raises
    `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.mget([redis_keys.signal_key(name) for name in session_ids])
    pipeline.pubsub_numsub(*(redis_keys.channel_of(name) for name in session_ids))
    signals, listeners = pipeline.execute()
    counts = {redis_keys.text_of(channel): int(count) for channel, count in listeners}
    return [
        (
            None if signal is None else redis_keys.text_of(signal),
            counts.get(redis_keys.channel_of(name), 0),
        )
        for name, signal in zip(session_ids, signals, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class RedisRun:
    """One run of a Redis server: its id, for how many seconds it has run, and whether it is the
    one that `remember_run` stored. If not, it may have lost what the run before held."""

    run_id: str
    uptime: float
    is_known: bool


def current_run() -> RedisRun:
    """Return the run of the Redis that answers now; raises `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.info("server")
    pipeline.get(redis_keys.LAST_RUN)
    info, stored = pipeline.execute()
    run_id = str(info["run_id"])
    return RedisRun(
        run_id,
        float(info["uptime_in_seconds"]),
        stored is not None and redis_keys.text_of(stored) == run_id,
    )


def remember_run(run_id: str) -> None:
    """Store in Redis which run of it has every signal; raises `redis.RedisError`."""
    redis_client().set(redis_keys.LAST_RUN, run_id)
