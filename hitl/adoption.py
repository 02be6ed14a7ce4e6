"""Requests that agents wrote to Redis themselves (docs/reference/wire.md, 5.3).

They are taken into the database as they are met: when somebody asks for one, when Redis
tells of it, when a scan finds it. What cannot be read is refused, counted and left alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project.jsontext import compact, digest
from dwp_project.outages import DATABASE_AWAY
from hitl import after_commit, audit, metrics, missed, policies, redis_reading
from hitl.actors import Actor
from hitl.models import ID_PATTERN, ApprovalRequest, AuditRecord, SessionOwner
from hitl.opening import after_the_last, claim_session
from hitl.states import ActorKind, AuditEvent, Channel, Origin
from hitl.written import Found, Malformed, read

logger = get_logger(__name__)

# How long a deployed agent waits for its answer, whatever it wrote (wire.md, 5.3).
WAIT_SECONDS = 300
# How exactly Redis tells a key's age: a question that its session does not wait for is not
# the newer of two that were written as close together as this.
_PRECISION = timedelta(milliseconds=2)

_REMEMBERED = 100_000
_refused: OrderedDict[tuple[str, bytes], None] = OrderedDict()
_lock = threading.Lock()


def adopt(request_id: str) -> ApprovalRequest | None:
    """Return the request under this id, adopting what an agent wrote; None if there is none.

    A request that is known already is never changed by what stands in Redis; a
    contradiction is audited, once. With Redis away only the database is asked.
    """
    try:
        return look_at(request_id)
    except (RedisError, OSError, ValueError) as exc:  # ValueError: an unusable REDIS_URL
        logger.warning("redis_away", error=str(exc))
        return _known(request_id)


def look_at(request_id: str) -> ApprovalRequest | None:
    """Do as `adopt` does; raises `redis.RedisError` where Redis does not answer."""
    known = _known(request_id)
    written = redis_reading.written_request(request_id)
    if written is None:
        return known
    try:
        found = read(request_id, written.text)
    except Malformed as exc:
        if known is None and _is_news(request_id, written.text):
            metrics.malformed_requests.inc()
            logger.warning("malformed_request", request_id=request_id[:200], why=str(exc))
        return known
    if found is None:
        return known
    if known is not None:
        _compare(known, found, timezone.now())
        return known
    try:
        return _adopt(found, written)
    except IntegrityError:
        if faster := _known(request_id):
            return faster  # another process was faster
        raise


def _is_news(request_id: str, text: bytes) -> bool:
    """Say whether this value was not met here lately: each is counted and logged once."""
    value = (request_id, sha256(text).digest())
    with _lock:
        is_news = value not in _refused
        _refused[value] = None
        if len(_refused) > _REMEMBERED:
            _refused.popitem(last=False)
    return is_news


def _known(request_id: str) -> ApprovalRequest | None:
    # Asked only what can be an id: PostgreSQL takes no NUL.
    if not ID_PATTERN.fullmatch(request_id):
        return None
    return ApprovalRequest.objects.filter(request_id=request_id).first()


def _adopt(found: Found, written: redis_reading.Written) -> ApprovalRequest | None:
    agent, now = _agent(found), timezone.now()
    with transaction.atomic():
        claim_session(found.session_id, found.tenant_id, found.user_id, Origin.REDIS)
        owner = SessionOwner.objects.get(session_id=found.session_id)
        if (owner.origin, owner.tenant_id) != (Origin.REDIS, found.tenant_id):
            _refuse(found, agent, now)
            return None
        if faster := _known(found.request_id):
            return faster  # another process was, while this one waited for the session
        policy = policies.applying(found.tenant_id, found.action_type)
        most = policy.timeout_seconds if policy else None
        term = min(WAIT_SECONDS, most) if most else WAIT_SECONDS
        request = ApprovalRequest.objects.create(
            request_id=found.request_id,
            session_id=found.session_id,
            tenant_id=found.tenant_id,
            user_id=found.user_id,
            origin=Origin.REDIS,
            agent_id=found.agent_id,
            action_type=found.action_type,
            message=found.message,
            context_text=compact(found.context),
            context_digest=digest(found.context),
            body_digest=_digest(found),
            created_at=_opened_at(found, written),
            expires_at=now + timedelta(seconds=term - written.age),
            policy=policy,
            # Until an older answer is gone from its session's key, even if this process dies.
            is_missed_by_redis=True,
        )
        details = {"actionType": request.action_type, "origin": str(Origin.REDIS)}
        details |= policies.told(request)
        audit.record(AuditEvent.REQUEST_ADOPTED, agent, now, request=request, details=details)
        transaction.on_commit(lambda: _forget_older(request))
        after_commit.tell(request)
    metrics.adopted_requests.inc()
    return request


def _opened_at(found: Found, written: redis_reading.Written) -> datetime:
    """Return when the request was written, such that the session's newest question is the
    newest here too, in whatever order they are adopted. Needs the lock of `claim_session`.

    By the clock of Redis: that of this host, read before or after Redis answers, is off by
    however long that takes. The session's key is asked under the lock: with an earlier
    answer, a question asked and adopted meanwhile would become the older one.
    """
    waiting = _waiting(found.session_id)
    if waiting == found.request_id:
        return after_the_last(found.session_id, written.at)
    newer = None if written.is_dated else _known(waiting)
    if newer is not None and newer.session_id == found.session_id:
        # All that is known of when it was written is that its session has asked again since.
        return newer.created_at - timedelta(microseconds=1)
    return written.at - _PRECISION


def _compare(known: ApprovalRequest, found: Found, now: datetime) -> None:
    """Audit, once, that Redis says of a known request what the database does not."""
    if _same(known, found):
        return
    told = AuditEvent.REQUEST_CONTRADICTED
    with transaction.atomic():
        agent = _agent(found, tenant_id=known.tenant_id)
        ApprovalRequest.objects.select_for_update().get(pk=known.pk)
        if AuditRecord.objects.filter(request_id=known.request_id, event=told).exists():
            return
        audit.record(told, agent, now, request=known, details={"written": _digest(found)})
    metrics.contradicted_requests.inc()
    logger.warning("request_contradicted", request_id=known.request_id)


def _same(known: ApprovalRequest, found: Found) -> bool:
    return (
        known.session_id,
        known.tenant_id,
        known.user_id,
        known.action_type,
        known.message,
        known.context_digest,
    ) == (
        found.session_id,
        found.tenant_id,
        found.user_id,
        found.action_type,
        found.message,
        digest(found.context),
    )


def _refuse(found: Found, agent: Actor, now: datetime) -> None:
    """Audit, once, that an agent asks in a session that is somebody else's."""
    told = AuditEvent.SESSION_REFUSED
    marks = {"session_id": found.session_id, "tenant_id": found.tenant_id, "event": told}
    if not AuditRecord.objects.filter(actor_kind=ActorKind.AGENT, **marks).exists():
        details = {"requestId": found.request_id}
        audit.record(told, agent, now, session_id=found.session_id, details=details)


def _waiting(session_id: str) -> str:
    """Return the request that the session's key names, the agent's own word for its newest
    question; an empty text for none."""
    try:
        return redis_reading.waiting_request(session_id) or ""
    except (RedisError, OSError):
        return ""


def _forget_older(request: ApprovalRequest) -> None:
    try:
        missed.forget_older(request)
        missed.done(request)
    except (RedisError, OSError) as exc:
        logger.warning("redis_away", error=str(exc))
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def _agent(found: Found, *, tenant_id: str | None = None) -> Actor:
    return Actor(
        id=found.agent_id or found.user_id,
        tenant_id=tenant_id or found.tenant_id,
        kind=ActorKind.AGENT,
        channel=Channel.REDIS,
    )


def _digest(found: Found) -> str:
    return digest(
        [
            found.user_id,
            found.session_id,
            found.action_type,
            found.message,
            found.context,
            found.tenant_id,
        ]
    )
