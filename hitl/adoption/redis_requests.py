"""Reads what agents have written to Redis: requests, and which one a session waits for
(docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.exceptions import ResponseError

from dwp_project import clocks
from dwp_project.jsontext import InvalidJSON, parse
from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys
from hitl.delivery import redis_state
from hitl.delivery.keys import NAMED_BY, Script
from hitl.delivery.parser import MOST_BYTES

# PTTL's answer for a key that does not exist.
_MISSING = -2
# Values that are read in one round trip. Chosen: 5 MiB if each is as large as one may be.
MOST_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class RedisValue:
    """The value of a request's key, its age in seconds, when it was written by the database's
    clock, and whether the key's TTL says so: if not, it counts as just written."""

    text: bytes
    age: float
    written_at: datetime
    is_dated: bool


def read_values(request_ids: Sequence[str]) -> list[RedisValue | None]:
    """Return the value of each request's key, None if it is not a string; raises
    `redis.RedisError`. Takes up to `MOST_AT_ONCE` ids."""
    pipeline = redis_client().pipeline(transaction=True)
    pipeline.time()
    for request_id in request_ids:
        # One byte too many is enough to see that it is too large.
        pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_BYTES)
        pipeline.pttl(redis_keys.request_key(request_id))
    (seconds, microseconds), *answers = pipeline.execute(raise_on_error=False)
    # When Redis answered, however long the answer took: the present here is later than that.
    now = clocks.database_time(seconds + microseconds / 1_000_000, redis_state.distant_redis)
    return [
        _value_of(text, left, now) for text, left in zip(answers[::2], answers[1::2], strict=True)
    ]


def _value_of(text: object, left: int, now: datetime) -> RedisValue | None:
    if left == _MISSING or not isinstance(text, bytes):
        return None  # a list or a hash is not a request
    # A key lives 1800 s from its writing; a missing or longer TTL does not give its age.
    is_dated = 0 <= left <= redis_keys.REQUEST_TTL * 1000
    age = redis_keys.REQUEST_TTL - left / 1000 if is_dated else 0.0
    return RedisValue(text, age, now - timedelta(seconds=age), is_dated)


def is_written(request_id: str) -> bool:
    """Say whether the request's key exists; raises `redis.RedisError`."""
    return bool(redis_client().exists(redis_keys.request_key(request_id)))


def read_texts(request_ids: Sequence[str]) -> Iterator[bytes | None]:
    """Yield the text of each request's key, cut after `MOST_BYTES` and one; None if it is not a
    string. Raises `redis.RedisError`."""
    for start in range(0, len(request_ids), MOST_AT_ONCE):
        pipeline = redis_client().pipeline(transaction=False)
        for request_id in request_ids[start : start + MOST_AT_ONCE]:
            pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_BYTES)
        for answer in pipeline.execute(raise_on_error=False):
            yield answer if isinstance(answer, bytes) else None


def read_statuses(request_ids: Sequence[str]) -> Iterator[str | None]:
    """Yield the status in the value of each request's key, None if it has none; raises
    `redis.RedisError`."""
    for text in read_texts(request_ids):
        try:
            body = None if text is None else parse(text)
        except InvalidJSON:
            body = None
        status = body.get("status") if isinstance(body, dict) else None
        yield status if isinstance(status, str) else None


_WAITING_REQUEST = Script(
    NAMED_BY
    + """
return named_by(redis.call('GET', session_key))
""",
    keys=("session_key",),
)


def waiting_request(session_id: str) -> str | None:
    """Return the request that the session's key names, or None; raises `redis.RedisError`."""
    return _text_or_none(_WAITING_REQUEST.run(session_key=redis_keys.session_key(session_id)))


def waiting_requests(session_ids: Sequence[str]) -> list[str | None]:
    """Return the request that each session's key names, None for a key of another type too;
    raises `redis.RedisError`."""
    calls = [{"session_key": redis_keys.session_key(session_id)} for session_id in session_ids]
    return [_text_or_none(named) for named in _WAITING_REQUEST.run_all(calls)]


def _text_or_none(named: object) -> str | None:
    return named.decode("utf-8", "replace") if isinstance(named, bytes) else None


def request_ids(cursor: int, count: int) -> tuple[int, list[str]]:
    """Return the next SCAN cursor and the request ids of this step; 0 begins and ends a scan."""
    following, keys = redis_client().scan(cursor, match=redis_keys.request_key("*"), count=count)
    prefix = len(redis_keys.request_key(""))
    names = [key if isinstance(key, bytes) else key.encode() for key in keys]
    return int(following), [name[prefix:].decode("utf-8", "replace") for name in names]


def keyspace_pattern() -> str:
    """Return the pattern of the keyspace notifications for written requests."""
    database = redis_client().connection_pool.connection_kwargs.get("db") or 0
    return f"__keyspace@{database}__:{redis_keys.request_key('*')}"


def is_notifying() -> bool:
    """Say whether this Redis notifies of SETs (K with $, or with A for all)."""
    try:
        settings = redis_client().config_get("notify-keyspace-events")
        flags = str(settings["notify-keyspace-events"])
    except (KeyError, ResponseError):
        # A hosted Redis may refuse CONFIG: the scans then read the requests.
        return False
    return "K" in flags and ("$" in flags or "A" in flags)
