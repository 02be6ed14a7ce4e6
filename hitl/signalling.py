"""The only code that knows the names of Redis keys (docs/reference/wire.md, 5)."""

from __future__ import annotations

from typing import Any

from dwp_project.jsontext import compact
from dwp_project.wakeup import redis_client
from hitl.models import ApprovalRequest
from hitl.representation import document

REQUEST_TTL = 1800
SESSION_TTL = 3600
SIGNAL_TTL = 300

# Opening: the request becomes the one its session waits for, and an older answer goes.
# Two openings may reach Redis in the wrong order; KEYS[4] keeps the newest one's number.
_ANNOUNCE = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5])
local newest = redis.call('GET', KEYS[4])
if newest and tonumber(newest) > tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[4], ARGV[4], 'EX', ARGV[6])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[6])
local signal = redis.call('GET', KEYS[3])
if signal then
  local ok, told = pcall(cjson.decode, signal)
  if not (ok and type(told) == 'table' and told.requestId == ARGV[3]) then
    redis.call('DEL', KEYS[3])
  end
end
return 1
"""

# Deciding: the request's own key always; key and channel of the session only if the session
# waits for nothing or for this very request. An agent subscribes late and takes whatever
# comes first, so a late or repeated signal must never reach a newer question (wire.md, 5.3).
_PUBLISH = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[5])
if ARGV[4] == '0' then return -1 end
local waiting = redis.call('GET', KEYS[2])
if waiting then
  local ok, named = pcall(cjson.decode, waiting)
  if ok and type(named) == 'table' then named = named.requestId
  elseif not (ok and type(named) == 'string') then named = waiting end
  if named ~= ARGV[3] then return -1 end
end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[4])
return redis.call('PUBLISH', KEYS[4], ARGV[2])
"""


def announce(request: ApprovalRequest) -> None:
    """Make a newly opened request known to agents; raises `redis.RedisError`."""
    session = {
        "sessionId": request.session_id,
        "requestId": request.request_id,
        "userId": request.user_id,
        "tenantId": request.tenant_id,
    }
    _run(
        _ANNOUNCE,
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
            str(request.pk),
            str(REQUEST_TTL),
            str(SESSION_TTL),
        ],
    )


def publish(request: ApprovalRequest, signal: str, *, seconds: int) -> int | None:
    """Set the signal's key for `seconds` and publish `signal`, in one atomic step.

    Returns how many subscribers received it, or None when the session waits for another
    request by now and nothing was signalled. With `seconds` 0 the caller knows that
    already, and only the request's own key is brought up to date. Raises `redis.RedisError`.
    """
    received = _run(
        _PUBLISH,
        [
            _request_key(request.request_id),
            _session_key(request.session_id),
            _signal_key(request.session_id),
            f"hitl:channel:{request.session_id}",
        ],
        [
            compact(document(request)),
            signal,
            request.request_id,
            str(seconds),
            str(REQUEST_TTL),
        ],
    )
    return None if received < 0 else received


def refresh(request: ApprovalRequest) -> None:
    """Bring the request's own key up to date; raises `redis.RedisError`."""
    redis_client().set(_request_key(request.request_id), compact(document(request)), ex=REQUEST_TTL)


def current_signal(session_id: str) -> str | None:
    """Return the session's signal of the last five minutes; raises `redis.RedisError`."""
    raw: Any = redis_client().get(_signal_key(session_id))
    return None if raw is None else raw.decode("utf-8", "replace")


def _run(script: str, keys: list[str], arguments: list[str]) -> int:
    # register_script sends the digest and falls back to the text where Redis lacks it.
    return int(redis_client().register_script(script)(keys=keys, args=arguments))


def _request_key(request_id: str) -> str:
    return f"hitl:request:{request_id}"


def _session_key(session_id: str) -> str:
    return f"hitl:session:{session_id}"


def _signal_key(session_id: str) -> str:
    return f"hitl:signal:{session_id}"
