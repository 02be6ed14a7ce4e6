"""Reads the state of Redis: its time, its run, the signals (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dwp_project import clocks
from dwp_project.jsontext import InvalidJSON, parse
from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys
from hitl.delivery.keys import NAMED_BY, Script
from hitl.delivery.merge import MOST_MERGED_BYTES
from hitl.delivery.redis_clock import RedisReading, redis_clock


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis says before the database is asked: its own time, which bounds how long the
    database's answer may be acted on; when the last complete scan of requests began; until when
    agents may be waiting whose questions are not adopted, by session; and the text of each
    request's key, empty if there is none, None if it is of another type."""

    asked_at: RedisReading
    scanned_at: datetime | None = None
    unadopted: dict[str, datetime] = field(default_factory=dict)
    texts: dict[str, bytes | None] = field(default_factory=dict)


def look(session_ids: Sequence[str] = (), request_ids: Sequence[str] = ()) -> Look:
    """Look at Redis before the database is asked about these sessions and requests, in one round
    trip; raises `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.time()
    pipeline.mget([redis_keys.scanned_key(), *map(redis_keys.unadopted_key, session_ids)])
    for request_id in request_ids:
        # One byte too many is enough to see that it is too large.
        pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_MERGED_BYTES)
    time, moments, *texts = pipeline.execute(raise_on_error=False)
    for answer in (time, moments):
        if isinstance(answer, Exception):
            raise answer
    scanned_at, *ends = map(_moment, moments)
    unadopted = zip(session_ids, ends, strict=True)
    return Look(
        RedisReading(float(time[0] + time[1] / 1_000_000)),
        scanned_at,
        {session_id: until for session_id, until in unadopted if until is not None},
        {
            request_id: text if isinstance(text, bytes) else None
            for request_id, text in zip(request_ids, texts, strict=True)
        },
    )


def clock() -> float:
    """Return Redis's own time in seconds; raises `redis.RedisError`."""
    seconds, microseconds = redis_client().time()
    return float(seconds + microseconds / 1_000_000)


def note_scanned(began_at: float) -> None:
    """Store when a complete scan of requests began, so that every question written before that is
    adopted or refused by now; raises `redis.RedisError`."""
    redis_client().set(redis_keys.scanned_key(), f"{began_at:.6f}", ex=redis_keys.SESSION_TTL)


# Of two that are noted at once the later stays.
_NOTE_UNADOPTED = Script(
    """
local earlier = tonumber(redis.pcall('GET', unadopted_key))
if not earlier or earlier < tonumber(moment) then
  redis.call('SET', unadopted_key, moment, 'EX', seconds)
end
""",
    keys=("unadopted_key",),
    arguments=("moment", "seconds"),
)


def note_unadopted(ends: Mapping[str, datetime]) -> None:
    """Store until when agents may be waiting whose questions are not adopted, by session; raises
    `redis.RedisError`."""
    calls = [
        {
            "unadopted_key": redis_keys.unadopted_key(session_id),
            "moment": f"{until.timestamp():.6f}",
            "seconds": str(redis_keys.REQUEST_TTL),
        }
        for session_id, until in ends.items()
    ]
    for answer in _NOTE_UNADOPTED.run_all(calls):
        if isinstance(answer, Exception):
            raise answer


def unadopted(session_ids: Collection[str]) -> dict[str, datetime]:
    """Return until when agents may be waiting whose questions are not adopted, by session; raises
    `redis.RedisError`."""
    moments: Any = redis_client().mget(map(redis_keys.unadopted_key, session_ids))
    ends = zip(session_ids, map(_moment, moments), strict=True)
    return {session_id: until for session_id, until in ends if until is not None}


def _moment(value: bytes | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


# Redis's clock as this process knows it; raises `redis.RedisError`.
distant_redis = clocks.DistantClock(lambda: clocks.reading_of(clock))


def texts(request_ids: Sequence[str]) -> dict[str, bytes | None]:
    """Return the text of each request's key, empty if there is none, None if it is of another type;
    raises `redis.RedisError`."""
    return look(request_ids=request_ids).texts


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
    pipeline.get(redis_keys.last_run_key())
    info, stored = pipeline.execute()
    run_id = str(info["run_id"])
    if "server_time_usec" in info:
        redis_clock.note(info["server_time_usec"] / 1_000_000, run_id)
    return RedisRun(
        run_id,
        float(info["uptime_in_seconds"]),
        stored is not None and redis_keys.text_of(stored) == run_id,
    )


def remember_run(run_id: str) -> None:
    """Store in Redis which run of it has every signal; raises `redis.RedisError`."""
    redis_client().set(redis_keys.last_run_key(), run_id)


# Members that have not beaten for a minute are removed, and a minute after the last the key.
_BEAT = Script(
    """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZADD', deployments, now, member)
redis.call('ZREMRANGEBYSCORE', deployments, '-inf', now - 60)
redis.call('EXPIRE', deployments, 60)
return {string.format('%.6f', now), redis.call('ZRANGE', deployments, 0, -1, 'WITHSCORES')}
""",
    keys=("deployments",),
    arguments=("member",),
)


def beat(member: str) -> tuple[float, dict[str, float]]:
    """Note that `member` of the deployments on this Redis is there; return Redis's own time and
    when each member has last beaten. Raises `redis.RedisError`."""
    now, beats = _BEAT.run(deployments=redis_keys.DEPLOYMENTS, member=member)
    names = [redis_keys.text_of(name) for name in beats[::2]]
    return float(now), dict(zip(names, map(float, beats[1::2]), strict=True))


def beats() -> tuple[float, dict[str, float]]:
    """Return what `beat` does, without one; raises `redis.RedisError`."""
    now = clock()
    rows: Any = redis_client().zrange(redis_keys.DEPLOYMENTS, 0, -1, withscores=True)
    return now, {redis_keys.text_of(name): float(at) for name, at in rows}


@dataclass(frozen=True, slots=True)
class MarkedRequest:
    """A request that a session's key names and that a deployment opened, for whom and when, in
    Unix milliseconds. What is unknown is empty or 0: its own key may have expired."""

    request_id: str
    tenant_id: str
    user_id: str
    deployment_id: str = ""
    created_at: int = 0


# That of the session first: without the request's own, newest_key says whether we wrote it.
_NAMED_AND_VALUES = Script(
    NAMED_BY
    + """
local waiting = redis.call('GET', session_key)
local named = named_by(waiting)
if not named then return {} end
local request = redis.pcall('GET', request_prefix .. named)
if type(request) == 'table' then request = '' end
return {named, waiting, request or false, redis.call('GET', newest_key)}
""",
    keys=("session_key", "newest_key"),
    arguments=("request_prefix",),
)


def marked_request(session_id: str) -> MarkedRequest | None:
    """Return the request that the session's key names, or None unless it is for certain that a
    deployment opened it in this session: an agent may write everything but the mark in its value.

    Raises `redis.RedisError`.
    """
    answer = _NAMED_AND_VALUES.run(
        session_key=redis_keys.session_key(session_id),
        newest_key=redis_keys.newest_key(session_id),
        request_prefix=redis_keys.request_key(""),
    )
    if not answer:
        return None
    name, waiting, request, newest = answer
    request_id = redis_keys.text_of(name)
    body = _members(waiting if request is None else request)
    if request is None:
        # Whatever an agent wrote after this opening would be named instead of it.
        is_ours = newest is not None and redis_keys.text_of(newest).partition(" ")[2] == request_id
    else:
        is_ours = redis_keys.MARK in body
    if not is_ours or body.get("sessionId") != session_id:
        return None
    tenant_id, user_id, deployment_id = (
        str(body.get(member) or "") for member in ("tenantId", "userId", redis_keys.MARK)
    )
    created_at = body.get("createdAt")
    created_at = created_at if isinstance(created_at, int) else 0
    return MarkedRequest(request_id, tenant_id, user_id, deployment_id, created_at)


def _members(text: bytes) -> dict[str, Any]:
    try:
        body = parse(text)
    except InvalidJSON:
        return {}
    return body if isinstance(body, dict) else {}
