"""What agents are told through Redis: requests, signals, and what they held before it lost its
memory (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from dwp_project.jsontext import InvalidJSON, compact
from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys
from hitl.delivery import scripts
from hitl.delivery.wire import document
from hitl.models import ApprovalRequest
from hitl.states import Status

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
    redis_keys.call(
        scripts.ANNOUNCE,
        [
            redis_keys.request_key(request.request_id),
            redis_keys.session_key(request.session_id),
            redis_keys.signal_key(request.session_id),
            redis_keys.newest_key(request.session_id),
        ],
        [
            compact(document(request)),
            compact(session),
            request.request_id,
            str(int(request.created_at.timestamp() * 1_000_000)),
            str(redis_keys.REQUEST_TTL),
            str(redis_keys.SESSION_TTL),
            instead_of,
        ],
    )


def clock() -> float:
    """Return Redis's own time in seconds; raises `redis.RedisError`.

    Asked before the database is, it bounds how long that answer may be acted on.
    """
    seconds, microseconds = redis_client().time()
    return float(seconds + microseconds / 1_000_000)


@dataclass(frozen=True, slots=True)
class RedisRun:
    """Which Redis this is, for how many seconds it has run, and whether it is the one that
    `remember` was last told of: if not, what was in it may be gone."""

    run_id: str
    uptime: float
    is_known: bool


def current_run() -> RedisRun:
    """Return what Redis says of itself; raises `redis.RedisError`."""
    pipeline = redis_client().pipeline(transaction=False)
    pipeline.info("server")
    pipeline.get(redis_keys.LAST_RUN)
    told, known = pipeline.execute()
    run_id = str(told["run_id"])
    return RedisRun(
        run_id,
        float(told["uptime_in_seconds"]),
        known is not None and redis_keys.text_of(known) == run_id,
    )


def remember_run(run_id: str) -> None:
    """Keep in Redis which Redis it is; raises `redis.RedisError`."""
    redis_client().set(redis_keys.LAST_RUN, run_id)


def publish(request: ApprovalRequest, signal: str, *, seconds: int, asked_at: float) -> int:
    """Set the signal's key for `seconds` and publish `signal`, in one atomic step; return how
    many subscribers received it.

    `asked_at` is what `clock` returned before the database said that no newer request is
    known. Raises `Superseded` when the session waits for another request, `TooLate` when
    `VALID_SECONDS` have passed since `asked_at`, `InvalidJSON` when the stored context is none,
    and `redis.RedisError`.
    """
    keys, arguments = _publication(request, signal, seconds, asked_at)
    return _receivers(redis_keys.call(scripts.PUBLISH, keys, arguments))


def publish_all(
    publications: Sequence[tuple[ApprovalRequest, str, int]], *, asked_at: float
) -> list[int | Exception]:
    """Do what `publish` does for many in one round trip, each by itself; return what each would
    have returned or raised. Raises `redis.RedisError` if Redis cannot be reached."""
    readable: list[tuple[list[str], list[str]]] = []
    unreadable: dict[int, Exception] = {}
    for number, (request, signal, seconds) in enumerate(publications):
        try:
            readable.append(_publication(request, signal, seconds, asked_at))
        except InvalidJSON as exc:
            unreadable[number] = exc
    answers = iter(redis_keys.call_all(scripts.PUBLISH, readable))
    return [
        unreadable.get(number) or _outcome(next(answers)) for number in range(len(publications))
    ]


def repeat_all(told: Sequence[tuple[str, str, str]], *, asked_at: float) -> list[int | Exception]:
    """Publish signals again that their sessions' keys hold, in one round trip; return what
    `publish` would have for each, and 0 where the key holds something else by now.

    `told` gives session, request and signal. Raises `redis.RedisError` if Redis cannot be reached.
    """
    until = f"{asked_at + VALID_SECONDS:.6f}"
    calls = [
        (
            [
                redis_keys.session_key(session_id),
                redis_keys.signal_key(session_id),
                redis_keys.channel_of(session_id),
            ],
            [signal, request_id, until],
        )
        for session_id, request_id, signal in told
    ]
    return [_outcome(answer) for answer in redis_keys.call_all(scripts.REPEAT, calls)]


def _outcome(answer: Any) -> int | Exception:
    if isinstance(answer, ResponseError):
        return answer
    try:
        return _receivers(answer)
    except (Superseded, TooLate) as refused:
        return refused


def _receivers(answer: Any) -> int:
    if isinstance(answer, bytes):
        raise Superseded(answer.decode("utf-8", "replace"))
    if answer < 0:
        raise TooLate
    return int(answer)


def _publication(
    request: ApprovalRequest, signal: str, seconds: int, asked_at: float
) -> tuple[list[str], list[str]]:
    keys = [
        redis_keys.request_key(request.request_id),
        redis_keys.session_key(request.session_id),
        redis_keys.signal_key(request.session_id),
        redis_keys.channel_of(request.session_id),
    ]
    arguments = [
        compact(document(request)),
        signal,
        request.request_id,
        str(seconds),
        str(redis_keys.REQUEST_TTL),
        f"{asked_at + VALID_SECONDS:.6f}",
    ]
    return keys, arguments


def refresh(request: ApprovalRequest) -> None:
    """Bring the request's own key up to date; raises `redis.RedisError`.

    A request that still waits is not written over its own end.
    """
    key, text = redis_keys.request_key(request.request_id), compact(document(request))
    if request.status == Status.PENDING:
        redis_keys.call(
            scripts.REFRESH, [key], [text, request.request_id, str(redis_keys.REQUEST_TTL)]
        )
    else:
        redis_client().set(key, text, ex=redis_keys.REQUEST_TTL)


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


def forget_other_signals(requests: Sequence[ApprovalRequest]) -> None:
    """Remove the signal of each request's session unless it is this request's, or the session
    waits for yet another; raises `redis.RedisError`."""
    calls = [
        (
            [redis_keys.signal_key(request.session_id), redis_keys.session_key(request.session_id)],
            [request.request_id],
        )
        for request in requests
    ]
    for answer in redis_keys.call_all(scripts.FORGET, calls):
        if isinstance(answer, ResponseError):
            raise answer
