"""What Redis is asked to do, each change of it one atomic script (docs/reference/wire.md, 5).

In the order of a request's life: it is announced, its signal is published, published again, an
older signal removed. The request's own key is `hitl.delivery.request_key`'s, what is only read
`hitl.delivery.redis_state`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.jsontext import InvalidJSON, compact
from dwp_project.wakeup import Message
from hitl.delivery import keys as redis_keys
from hitl.delivery import request_key
from hitl.delivery.keys import MARKED, NAMED_BY, Script
from hitl.delivery.redis_clock import RedisReading
from hitl.delivery.request_key import HAS_ENDED, SET_REQUEST
from hitl.delivery.wire import milliseconds
from hitl.models import ApprovalRequest
from hitl.states import Origin

logger = get_logger(__name__)

# How long a publication may take from reading the database to its execution in Redis: a script
# that a frozen link held back longer would act on a state that is gone (wire.md, 5.3; ADR 0023).
VALID_SECONDS = 0.9


@dataclass(frozen=True, slots=True)
class Published:
    """Redis has published the signal, and `receivers` connections received it."""

    receivers: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """Nothing was published: the session waits for the request `named` in its key."""

    named: str


@dataclass(frozen=True, slots=True)
class TooLate:
    """Nothing was published: Redis executed the script after `VALID_SECONDS`, or a signal that was
    to be repeated has gone from its key."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was published: a key has another type, a context was changed by hand, or an agent
    wrote its request again."""

    error: str


Publication = Published | Superseded | TooLate | Refused

# Whether what the database answered may still be acted on: it was asked `asked_at` by the clock of
# this very run of Redis, and not long ago. That it is earlier now says that the clock was set.
_IS_VALID = """
local function is_valid()
  local time = redis.call('TIME')
  local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
  local passed = now - tonumber(asked_at)
  if passed < -0.001 or passed > tonumber(valid_seconds) then return false end
  return run_id == ''
    or string.find(redis.call('INFO', 'server'), 'run_id:' .. run_id, 1, true) ~= nil
end
"""
# The arguments that `_IS_VALID` refers to.
_VALIDITY = ("asked_at", "valid_seconds", "run_id")


# Two openings may reach Redis in the wrong order: newest_key keeps when the newest was opened, and
# which it is. A session's key without it was written by an agent, which would take the answer for
# its own, unless it names a request that was opened here for the same person: the database has lost
# that one, or has got a new id.
# An opening that comes late does not make a request pending again that has ended meanwhile. One of
# the same id that the database has lost is replaced, and its signal removed.
_ANNOUNCE = Script(
    NAMED_BY
    + HAS_ENDED
    + MARKED
    + """
local signal = redis.call('GET', signal_key)
local before = redis.call('GET', request_key)
local is_lost = is_of(before, request_id) and is_marked(before) and not is_from(before, created_at)
if is_lost or not has_ended(before, request_id) then
  redis.call('SET', request_key, request, 'EX', request_ttl)
end
if is_lost and is_of(signal, request_id) then redis.call('DEL', signal_key) end
local named = named_by(redis.call('GET', session_key))
local newest = redis.call('GET', newest_key)
if instead_of ~= '' and named ~= instead_of then return 0 end
if instead_of == '' and named and named ~= request_id then
  local other = text_at(request_prefix .. named)
  if other and is_marked(other) then
    if not is_for(other, session) then return 0 end
  elseif not newest then
    return 0
  end
end
if newest then
  local newest_at, newest_id = string.match(newest, '^(%d+) (.*)$')
  if tonumber(newest_at) > tonumber(opened_at) and newest_id ~= request_id
    and newest_id ~= instead_of then return 0 end
end
redis.call('SET', newest_key, opened_at .. ' ' .. request_id, 'EX', session_ttl + 60)
redis.call('SET', session_key, session, 'EX', session_ttl)
if signal and not is_of(signal, request_id) then redis.call('DEL', signal_key) end
return 1
""",
    keys=("request_key", "session_key", "signal_key", "newest_key"),
    arguments=(
        *("request", "session", "request_id", "opened_at"),
        *("request_ttl", "session_ttl", "instead_of", "created_at", "request_prefix"),
    ),
)


def announce(
    request: ApprovalRequest, *, instead_of: str = "", after: Sequence[Message] = ()
) -> bool:
    """Make a newly opened request known to agents as the one its session waits for, and remove
    an older request's signal; return whether the session's key names it now. Raises
    `redis.RedisError`.

    With `instead_of`, the session's key changes only if it still names that request. Writes
    nothing of an end that the audit does not have. The messages `after` are published after it, in
    the same round trip.
    """
    if request_key.is_unrecorded(request):
        return False
    session = {
        "sessionId": request.session_id,
        "requestId": request.request_id,
        "userId": request.user_id,
        "tenantId": request.tenant_id,
    }
    values: dict[str, str | bytes] = {
        "request_key": redis_keys.request_key(request.request_id),
        "session_key": redis_keys.session_key(request.session_id),
        "signal_key": redis_keys.signal_key(request.session_id),
        "newest_key": redis_keys.newest_key(request.session_id),
        "request": request_key.text_of(request),
        "session": compact(session),
        "request_id": request.request_id,
        "opened_at": str(int(request.created_at.timestamp() * 1_000_000)),
        "request_ttl": str(redis_keys.REQUEST_TTL),
        "session_ttl": str(redis_keys.SESSION_TTL),
        "instead_of": instead_of,
        "created_at": str(milliseconds(request.created_at)),
        "request_prefix": redis_keys.request_key(""),
    }
    [is_named] = _ANNOUNCE.run_all([values], after=after)
    if isinstance(is_named, Exception):
        raise is_named
    return bool(is_named)


# The request's own key is always updated; if its agent has rewritten it since it was read, nothing
# is done until the decision is merged into the new text. The signal is set and published only as
# long as the database's answer is valid, and only if the session waits for nothing or for this
# request. An agent subscribes late and takes whatever comes first, so a late or repeated signal
# must never reach a newer question.
_PUBLISH = Script(
    NAMED_BY
    + _IS_VALID
    + SET_REQUEST
    + """
if not set_request() then return -2 end
if not is_valid() then return -1 end
local named = named_by(redis.call('GET', session_key))
if named and named ~= request_id then return named end
redis.call('SET', signal_key, signal, 'EX', signal_ttl)
return redis.call('PUBLISH', channel, signal)
""",
    keys=("request_key", "session_key", "signal_key", "channel"),
    arguments=(
        *("request", "read", "is_read", "signal", "request_id"),
        *("signal_ttl", "request_ttl", *_VALIDITY),
    ),
)


def publish(
    request: ApprovalRequest,
    signal: str,
    *,
    seconds: int,
    asked_at: RedisReading,
    texts: Mapping[str, bytes | None] | None = None,
    before: Sequence[Message] = (),
) -> Publication:
    """Set the signal's key for `seconds` and publish `signal`, in one atomic step.

    `asked_at` is Redis's time before the database said that no newer request is known, and `texts`
    what was read with it. The messages `before` are published in the same round trip. Raises
    `redis.RedisError` if Redis cannot be reached.
    """
    texts = request_key.agents_texts([request], texts)
    try:
        arguments = _arguments(request, signal, seconds, asked_at, texts)
        [answer] = _PUBLISH.run_all([arguments], before=before)
        return _publication_of(answer)
    except (ResponseError, InvalidJSON) as exc:
        # Redis answers: only this signal cannot be published.
        return Refused(str(exc))


def publish_all(
    publications: Sequence[tuple[ApprovalRequest, str, int]], *, asked_at: RedisReading
) -> list[Publication]:
    """Do what `publish` does for many in one round trip, and one that reads the texts of agents,
    each independent of the others.

    `publications` gives request, signal and seconds.
    """
    texts = request_key.agents_texts([request for request, _, _ in publications])
    calls: list[dict[str, str | bytes]] = []
    unreadable: dict[int, Publication] = {}
    for number, (request, signal, seconds) in enumerate(publications):
        try:
            calls.append(_arguments(request, signal, seconds, asked_at, texts))
        except InvalidJSON as exc:
            unreadable[number] = Refused(str(exc))
    answers = iter(_PUBLISH.run_all(calls))
    return [
        unreadable.get(number) or _publication_of(next(answers))
        for number in range(len(publications))
    ]


def _arguments(
    request: ApprovalRequest,
    signal: str,
    seconds: int,
    asked_at: RedisReading,
    texts: Mapping[str, bytes | None],
) -> dict[str, str | bytes]:
    return {
        **request_key.replacement(request, texts),
        "session_key": redis_keys.session_key(request.session_id),
        "signal_key": redis_keys.signal_key(request.session_id),
        "channel": redis_keys.channel_of(request.session_id),
        "signal": signal,
        "request_id": request.request_id,
        "signal_ttl": str(seconds),
        **_validity(asked_at),
    }


def _validity(asked_at: RedisReading) -> dict[str, str | bytes]:
    return {
        "asked_at": f"{asked_at.seconds:.6f}",
        "valid_seconds": str(VALID_SECONDS),
        "run_id": asked_at.run_id,
    }


def _publication_of(answer: Any) -> Publication:
    """Return what a script's answer means: the receivers, -1 or -2, or the name in the key."""
    if isinstance(answer, ResponseError):
        return Refused(str(answer))
    if isinstance(answer, bytes):
        return Superseded(answer.decode("utf-8", "replace"))
    if answer == -2:
        return Refused("its agent has written the request again meanwhile")
    return TooLate() if answer < 0 else Published(int(answer))


# Nothing is written: the signal's key keeps the expiry that it got when the signal was first sent.
_REPEAT = Script(
    NAMED_BY
    + _IS_VALID
    + """
if redis.call('GET', signal_key) ~= signal then return -1 end
if not is_valid() then return -1 end
local named = named_by(redis.call('GET', session_key))
if named and named ~= request_id then return named end
return redis.call('PUBLISH', channel, signal)
""",
    keys=("session_key", "signal_key", "channel"),
    arguments=("signal", "request_id", *_VALIDITY),
)


def repeat_all(
    signals: Sequence[tuple[str, str, str]], *, asked_at: RedisReading
) -> list[Publication]:
    """Publish signals again that their sessions' keys hold, in one round trip; `TooLate()` if the
    key holds something else now.

    `signals` gives session, request and signal. Raises `redis.RedisError` if Redis cannot be
    reached.
    """
    calls: list[dict[str, str | bytes]] = [
        {
            "session_key": redis_keys.session_key(session_id),
            "signal_key": redis_keys.signal_key(session_id),
            "channel": redis_keys.channel_of(session_id),
            "signal": signal,
            "request_id": request_id,
            **_validity(asked_at),
        }
        for session_id, request_id, signal in signals
    ]
    return [_publication_of(answer) for answer in _REPEAT.run_all(calls)]


# If the session waits for another request already, the signal may be that one's.
_FORGET = Script(
    NAMED_BY
    + """
local named = named_by(redis.call('GET', session_key))
if named and named ~= request_id then return 0 end
local signal = redis.call('GET', signal_key)
if not signal or is_of(signal, request_id) then return 0 end
return redis.call('DEL', signal_key)
""",
    keys=("signal_key", "session_key"),
    arguments=("request_id",),
)


def forget_other_signals(requests: Sequence[ApprovalRequest]) -> None:
    """Remove the signal of each adopted request's session unless it is this request's, or the
    session waits for yet another; raises `redis.RedisError`."""
    calls = [
        {
            "signal_key": redis_keys.signal_key(request.session_id),
            "session_key": redis_keys.session_key(request.session_id),
            "request_id": request.request_id,
        }
        for request in requests
    ]
    for answer in _FORGET.run_all(calls):
        if isinstance(answer, ResponseError):
            raise answer


# The database has lost the end: whoever reads the signal would act on an answer that no book has.
# An agent's own text stays as it is.
_FORGET_END = Script(
    NAMED_BY
    + HAS_ENDED
    + """
if not has_ended(redis.call('GET', request_key), request_id) then return 0 end
if is_of(redis.call('GET', signal_key), request_id) then redis.call('DEL', signal_key) end
if is_ours == '1' then redis.call('DEL', request_key) end
return 1
""",
    keys=("request_key", "signal_key"),
    arguments=("request_id", "is_ours"),
)


def forget_lost_ends(requests: Sequence[ApprovalRequest]) -> list[ApprovalRequest]:
    """Remove from Redis the end of each of these pending requests that has one there: the signal,
    and the key if the request was opened here. Return those opened here, which are to be announced
    anew. Raises `redis.RedisError` if Redis cannot be reached."""
    calls = [
        {
            "request_key": redis_keys.request_key(request.request_id),
            "signal_key": redis_keys.signal_key(request.session_id),
            "request_id": request.request_id,
            "is_ours": "0" if request.origin == Origin.REDIS else "1",
        }
        for request in requests
    ]
    answers = zip(requests, _FORGET_END.run_all(calls), strict=True)
    return [r for r, answer in answers if answer == 1 and r.origin != Origin.REDIS]
