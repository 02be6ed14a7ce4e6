"""What agents have written into Redis: requests, and which one a session waits for
(docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redis.exceptions import ResponseError

from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys
from hitl.delivery.keys import NAMED_BY, Script

# What PTTL says of a key that is not there.
_MISSING = -2
# What is larger under a request's key is no request.
MOST_BYTES = 256 * 1024
# Of the largest values so many are held in memory together.
MOST_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class RedisValue:
    """What an agent wrote under a request's key, how old it is in seconds, when by the clock
    of Redis it was written, and whether the key's life tells that: else it is taken for new."""

    text: bytes
    age: float
    at: datetime
    is_dated: bool


def read_values(request_ids: Sequence[str]) -> list[RedisValue | None]:
    """Return what stands in Redis for each request, None for what is no text; raises
    `redis.RedisError`. For no more than `MOST_AT_ONCE`."""
    pipeline = redis_client().pipeline(transaction=True)
    pipeline.time()
    for request_id in request_ids:
        # No more than tells that it is too large.
        pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_BYTES)
        pipeline.pttl(redis_keys.request_key(request_id))
    (seconds, microseconds), *answers = pipeline.execute(raise_on_error=False)
    now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
    return [
        _value_of(text, left, now) for text, left in zip(answers[::2], answers[1::2], strict=True)
    ]


def _value_of(text: object, left: int, now: datetime) -> RedisValue | None:
    if left == _MISSING or not isinstance(text, bytes):
        return None  # a list, a hash: no request, whatever it is
    # The age is what the key has lost of its life; one without that limit was just written.
    is_dated = 0 <= left <= redis_keys.REQUEST_TTL * 1000
    age = redis_keys.REQUEST_TTL - left / 1000 if is_dated else 0.0
    return RedisValue(text, age, now - timedelta(seconds=age), is_dated)


def read_texts(request_ids: Sequence[str]) -> Iterator[bytes | None]:
    """Yield what stands under each request's key, however large up to one byte too many; None
    for what is no text. Raises `redis.RedisError`."""
    for start in range(0, len(request_ids), MOST_AT_ONCE):
        pipeline = redis_client().pipeline(transaction=False)
        for request_id in request_ids[start : start + MOST_AT_ONCE]:
            pipeline.getrange(redis_keys.request_key(request_id), 0, MOST_BYTES)
        for answer in pipeline.execute(raise_on_error=False):
            yield answer if isinstance(answer, bytes) else None


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
    """Return the request that each session's key names, None for a key of another kind too;
    raises `redis.RedisError`."""
    calls = [{"session_key": redis_keys.session_key(session_id)} for session_id in session_ids]
    return [_text_or_none(named) for named in _WAITING_REQUEST.run_all(calls)]


def _text_or_none(named: object) -> str | None:
    return named.decode("utf-8", "replace") if isinstance(named, bytes) else None


def request_ids(cursor: int, count: int) -> tuple[int, list[str]]:
    """Return the next SCAN cursor and the ids of requests met on the way; 0 begins and ends."""
    following, keys = redis_client().scan(cursor, match=redis_keys.request_key("*"), count=count)
    prefix = len(redis_keys.request_key(""))
    names = [key if isinstance(key, bytes) else key.encode() for key in keys]
    return int(following), [name[prefix:].decode("utf-8", "replace") for name in names]


def keyspace_pattern() -> str:
    """Return the pattern of the keyspace notifications that tell of written requests."""
    database = redis_client().connection_pool.connection_kwargs.get("db") or 0
    return f"__keyspace@{database}__:{redis_keys.request_key('*')}"


def is_notifying() -> bool:
    """Say whether this Redis tells of SETs (K with $, or with A for all)."""
    try:
        found = redis_client().config_get("notify-keyspace-events")
        flags = str(found["notify-keyspace-events"])
    except (KeyError, ResponseError):
        return False  # a hosted Redis may refuse CONFIG: SCAN finds them
    return "K" in flags and ("$" in flags or "A" in flags)
