"""The key of a request in Redis: what it holds, and how it is brought up to date (wire.md, 5).

What was opened here is written whole. What an agent wrote stays as it wrote it, with the end set in
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.deployment import identity
from dwp_project.jsontext import compact
from dwp_project.wakeup import redis_client
from hitl.audit import decision_record
from hitl.delivery import keys as redis_keys
from hitl.delivery import merge, redis_state
from hitl.delivery.keys import NAMED_BY, Script
from hitl.delivery.wire import document
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Origin, Status

logger = get_logger(__name__)

# Whether the value of a request's key says that this request has ended.
HAS_ENDED = """
local function has_ended(text, id)
  if not text then return false end
  local ok, body = pcall(cjson.decode, text)
  if not ok or type(body) ~= 'table' or body.status == nil or body.status == 'pending' then
    return false
  end
  local named = body.requestId
  return named == nil or named == cjson.null or id_in(body, text) == id
end
"""

# Brings the request's key up to date, and says whether it is: not if it was read before and holds
# something else by now.
SET_REQUEST = """
local function set_request()
  local held = redis.call('GET', request_key)
  if held == request then return true end
  if is_read == '1' and (held or '') ~= read then return false end
  redis.call('SET', request_key, request, 'EX', request_ttl)
  return true
end
"""


def agents_texts(
    requests: Sequence[ApprovalRequest], known: Mapping[str, bytes | None] | None = None
) -> Mapping[str, bytes | None]:
    """Return what the keys hold of those requests that agents wrote, unless it is known; raises
    `redis.RedisError`."""
    ids = [request.request_id for request in requests if request.origin == Origin.REDIS]
    known = known or {}
    unknown = [request_id for request_id in ids if request_id not in known]
    return {**known, **redis_state.texts(unknown)} if unknown else known


def replacement(
    request: ApprovalRequest, texts: Mapping[str, bytes | None]
) -> dict[str, str | bytes]:
    """Return what to write into the request's key, and what it replaces.

    What an agent wrote is kept, with the end set in it. If it is gone, or asks something else, the
    request as the database has it replaces it: nobody said yes to another question.
    """
    read = texts.get(request.request_id) if request.origin == Origin.REDIS else None
    is_whole = read is not None and len(read) <= merge.MOST_MERGED_BYTES
    merged = merge.merged(request, read) if read and is_whole else None
    return {
        "request_key": redis_keys.request_key(request.request_id),
        "request": text_of(request) if merged is None else merged,
        "read": read if read and is_whole else "",
        "is_read": "1" if is_whole else "0",
        "request_ttl": str(redis_keys.REQUEST_TTL),
    }


# A request that still waits is not written over its own end, which may have been committed and
# sent to Redis meanwhile.
_REFRESH = Script(
    NAMED_BY
    + HAS_ENDED
    + """
if has_ended(redis.call('GET', request_key), request_id) then return 0 end
redis.call('SET', request_key, request, 'EX', request_ttl)
return 1
""",
    keys=("request_key",),
    arguments=("request", "request_id", "request_ttl"),
)


_END = Script(
    SET_REQUEST + "return set_request() and 1 or 0",
    keys=("request_key",),
    arguments=("request", "read", "is_read", "request_ttl"),
)
# Chosen: an agent hardly writes one request again several times within milliseconds.
_MERGES = 5


def refresh(request: ApprovalRequest, end: AuditRecord | None = None) -> None:
    """Bring the request's own key up to date, after a vote, an escalation or its end, unless the
    audit does not have that end; raises `redis.RedisError`.

    What an agent wrote changes only with its end. `end` is the record of it, if the caller has
    just written that.
    """
    if request.origin == Origin.REDIS and request.status == Status.PENDING:
        return
    if is_unrecorded(request, end):
        return
    if request.origin == Origin.REDIS:
        for _ in range(_MERGES):
            texts = agents_texts([request])
            if texts[request.request_id] == b"" and not request.is_decided:
                return  # Redis has lost it, and nobody waits for an end without a decision
            if _END.run(**replacement(request, texts)):
                return
        raise ResponseError("its agent writes the request again and again")
    key, text = redis_keys.request_key(request.request_id), text_of(request)
    if request.status == Status.PENDING:
        _REFRESH.run(
            request_key=key,
            request=text,
            request_id=request.request_id,
            request_ttl=str(redis_keys.REQUEST_TTL),
        )
    else:
        redis_client().set(key, text, ex=redis_keys.REQUEST_TTL)


def text_of(request: ApprovalRequest) -> str:
    """Return the value of the request's key; one that was opened here bears the mark of this
    deployment (wire.md, 5.1)."""
    body = document(request)
    if request.origin != Origin.REDIS:
        body[redis_keys.MARK] = identity.current()
    return compact(body)


def is_unrecorded(request: ApprovalRequest, end: AuditRecord | None = None) -> bool:
    """Say whether the request has an end that the audit does not have, and log it; `end` is the
    record of it, if that need not be read."""
    if end is not None and decision_record.says_so(end, request):
        return False
    if not decision_record.unrecorded([request]):
        return False
    logger.error("request_not_vouched_for", request_id=request.request_id, tenant=request.tenant_id)
    return True
