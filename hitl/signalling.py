"""The only code that knows the names of Redis keys (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import ResponseError

from dwp_project.jsontext import compact
from dwp_project.wakeup import redis_client
from hitl import scripts
from hitl.models import ApprovalRequest
from hitl.representation import document
from hitl.states import Status

# What PTTL says of a key that is not there.
_MISSING = -2
# What is larger under a request's key is no request.
MOST_BYTES = 256 * 1024
REQUEST_TTL = 1800
SESSION_TTL = 3600
SIGNAL_TTL = 300

# How long a publication may take from what the database said to its execution in Redis. A
# script that was held up, by a frozen link say, would be executed on a state that is gone.
VALID_SECONDS = 0.9


class Superseded(Exception):
    """The session waits for another request: `named`, as its key says."""

    def __init__(self, named: str) -> None:
        super().__init__(named)
        self.named = named


class TooLate(Exception):
    """Redis executed the publication when it was no longer valid, and so did nothing."""


def announce(request: ApprovalRequest, *, instead_of: str = "") -> None:
    """Make a newly opened request known to agents; raises `redis.RedisError`.

    With `instead_of`, the session's key changes only if it still names that request.
    """
    session = {
        "sessionId": request.session_id,
        "requestId": request.request_id,
        "userId": request.user_id,
        "tenantId": request.tenant_id,
    }
    _call(
        scripts.ANNOUNCE,
        [
            _request_key(request.request_id),
            _session_key(request.session_id),
            _signal_key(request.session_id),
            f"dwp:hitl:newest:{request.session_id}",
        ],
        [
            compact(document(request)),
            compact(session),
            request.request_id,
            str(int(request.created_at.timestamp() * 1_000_000)),
            str(REQUEST_TTL),
            str(SESSION_TTL),
            instead_of,
        ],
    )


def clock() -> float:
    """Return Redis's own time in seconds; raises `redis.RedisError`.

    Asked before the database is, it bounds how long that answer may be acted on.
    """
    seconds, microseconds = redis_client().time()
    return float(seconds + microseconds / 1_000_000)


def publish(request: ApprovalRequest, signal: str, *, seconds: int, asked_at: float) -> int:
    """Set the signal's key for `seconds` and publish `signal`, in one atomic step; return how
    many subscribers received it.

    `asked_at` is what `clock` returned before the database said that no newer request is
    known. Raises `Superseded` when the session waits for another request, `TooLate` when
    `VALID_SECONDS` have passed since `asked_at`, and `redis.RedisError`.
    """
    received = _call(
        scripts.PUBLISH,
        [
            _request_key(request.request_id),
            _session_key(request.session_id),
            _signal_key(request.session_id),
            _channel(request.session_id),
        ],
        [
            compact(document(request)),
            signal,
            request.request_id,
            str(seconds),
            str(REQUEST_TTL),
            f"{asked_at + VALID_SECONDS:.6f}",
        ],
    )
    if isinstance(received, bytes):
        raise Superseded(received.decode("utf-8", "replace"))
    if received < 0:
        raise TooLate
    return int(received)


def refresh(request: ApprovalRequest) -> None:
    """Bring the request's own key up to date; raises `redis.RedisError`.

    A request that still waits is not written over its own end.
    """
    key, text = _request_key(request.request_id), compact(document(request))
    if request.status == Status.PENDING:
        _call(scripts.REFRESH, [key], [text, request.request_id, str(REQUEST_TTL)])
    else:
        redis_client().set(key, text, ex=REQUEST_TTL)


def current_signal(session_id: str) -> str | None:
    """Return the session's signal of the last five minutes; raises `redis.RedisError`."""
    raw: Any = redis_client().get(_signal_key(session_id))
    return None if raw is None else raw.decode("utf-8", "replace")


def held(session_ids: Sequence[str]) -> list[tuple[str | None, int]]:
    """Return each session's signal and how many listen on its channel; raises
    `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.mget([_signal_key(name) for name in session_ids])
    pipeline.pubsub_numsub(*(_channel(name) for name in session_ids))
    signals, listeners = pipeline.execute()
    counts = {_text(channel): int(count) for channel, count in listeners}
    return [
        (None if signal is None else _text(signal), counts.get(_channel(name), 0))
        for name, signal in zip(session_ids, signals, strict=True)
    ]


def forget_other_signals(request: ApprovalRequest) -> None:
    """Remove the session's signal unless it is this request's, or the session waits for yet
    another; raises `redis.RedisError`."""
    keys = [_signal_key(request.session_id), _session_key(request.session_id)]
    _call(scripts.FORGET, keys, [request.request_id])


@dataclass(frozen=True, slots=True)
class Written:
    """What an agent wrote under a request's key, how old it is in seconds, and when by the
    clock of Redis it was written."""

    text: bytes
    age: float
    at: datetime


def written_request(request_id: str) -> Written | None:
    """Return what stands in Redis for this request, or None; raises `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=True)
    # No more than tells that it is too large.
    pipeline.getrange(_request_key(request_id), 0, MOST_BYTES)
    pipeline.pttl(_request_key(request_id))
    pipeline.time()
    try:
        text, left, (seconds, microseconds) = pipeline.execute()
    except ResponseError:
        return None  # a list, a hash: no request, whatever it is
    if left == _MISSING:
        return None
    # The age is what the key has lost of its life; one without a limit was just written.
    age = REQUEST_TTL - left / 1000 if left >= 0 else 0.0
    age = min(max(age, 0.0), float(REQUEST_TTL))
    now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
    return Written(text, age, now - timedelta(seconds=age))


def waiting_request(session_id: str) -> str | None:
    """Return the request that the session's key names, or None; raises `redis.RedisError`."""
    named = _call(scripts.WAITING, [_session_key(session_id)], [])
    return named.decode("utf-8", "replace") if isinstance(named, bytes) else None


def request_ids(cursor: int, count: int) -> tuple[int, list[str]]:
    """Return the next SCAN cursor and the ids of requests met on the way; 0 begins and ends."""
    following, keys = redis_client().scan(cursor, match=_request_key("*"), count=count)
    prefix = len(_request_key(""))
    names = [key if isinstance(key, bytes) else key.encode() for key in keys]
    return int(following), [name[prefix:].decode("utf-8", "replace") for name in names]


def keyspace_pattern() -> str:
    """Return the pattern of the keyspace notifications that tell of written requests."""
    database = redis_client().connection_pool.connection_kwargs.get("db") or 0
    return f"__keyspace@{database}__:{_request_key('*')}"


def notifies() -> bool:
    """Say whether this Redis tells of SETs (K with $, or with A for all)."""
    try:
        found = redis_client().config_get("notify-keyspace-events")
        flags = str(found["notify-keyspace-events"])
    except (KeyError, ResponseError):
        return False  # a hosted Redis may refuse CONFIG: SCAN finds them
    return "K" in flags and ("$" in flags or "A" in flags)


def _call(script: str, keys: list[str], arguments: list[str]) -> Any:
    # register_script sends the digest and falls back to the text where Redis lacks it.
    return redis_client().register_script(script)(keys=keys, args=arguments)


def _request_key(request_id: str) -> str:
    return f"hitl:request:{request_id}"


def _session_key(session_id: str) -> str:
    return f"hitl:session:{session_id}"


def _channel(session_id: str) -> str:
    return f"hitl:channel:{session_id}"


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _signal_key(session_id: str) -> str:
    return f"hitl:signal:{session_id}"
