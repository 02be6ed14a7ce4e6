"""Reads the state of Redis: its time, its run, the signals (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys
from hitl.delivery.merge import MOST_MERGED_BYTES


def clock() -> float:
    """Return Redis's own time in seconds; raises `redis.RedisError`.

    Read before the database, it bounds how long the database's answer may be acted on.
    """
    seconds, microseconds = redis_client().time()
    return float(seconds + microseconds / 1_000_000)


def clock_and_texts(request_ids: Sequence[str]) -> tuple[float, dict[str, bytes | None]]:
    """Return what `clock` and `texts` return, in one round trip; raises `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.time()
    for request_id in request_ids:
        # One byte too many is enough to see that it is too large.
        pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_MERGED_BYTES)
    time, *answers = pipeline.execute(raise_on_error=False)
    if isinstance(time, Exception):
        raise time
    texts = {
        request_id: answer if isinstance(answer, bytes) else None
        for request_id, answer in zip(request_ids, answers, strict=True)
    }
    return float(time[0] + time[1] / 1_000_000), texts


def texts(request_ids: Sequence[str]) -> dict[str, bytes | None]:
    """Return the text of each request's key, empty if there is none, None if it is of another type;
    raises `redis.RedisError`."""
    return clock_and_texts(request_ids)[1]


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
