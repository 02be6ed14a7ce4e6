"""Requests that agents wrote to Redis themselves (docs/reference/wire.md, 5.3).

They are taken into the database as they are met: when somebody asks for one, when Redis
tells of it, when a scan finds it. What cannot be read is refused, counted and left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project.gateway.tokens import is_identifier
from dwp_project.jsontext import InvalidJSON, compact, digest, parse
from hitl import audit, metrics, signalling
from hitl.actors import Actor
from hitl.models import ID_PATTERN, ApprovalRequest, AuditRecord, SessionOwner
from hitl.opening import after_the_last, claim_session
from hitl.states import ActorKind, AuditEvent, Channel, Origin, Status

logger = get_logger(__name__)

# How long a deployed agent waits for its answer, whatever it wrote (wire.md, 5.3).
WAIT_SECONDS = 300
_MAX_BYTES = 256 * 1024
_MAX_ACTION = 128
_MAX_MESSAGE = 10_000


class Malformed(Exception):
    """What stands in Redis is no request; it is as good as unknown."""


@dataclass(frozen=True, slots=True)
class Found:
    """A request as an agent wrote it."""

    request_id: str
    session_id: str
    tenant_id: str
    user_id: str
    action_type: str
    message: str
    context: Mapping[str, Any]
    agent_id: str


def adopt(request_id: str, *, now: datetime | None = None) -> ApprovalRequest | None:
    """Return the request under this id, adopting what an agent wrote; None if there is none.

    A request that is known already is never changed by what stands in Redis; a
    contradiction is audited, once. With Redis away only the database is asked.
    """
    now = now or timezone.now()
    known = ApprovalRequest.objects.filter(request_id=request_id).first()
    try:
        written = signalling.written_request(request_id)
    except (RedisError, OSError) as exc:
        logger.warning("redis_away", error=str(exc))
        return known
    if written is None:
        return known
    try:
        found = _read(request_id, written.text)
    except Malformed as exc:
        if known is None:
            metrics.malformed_requests.inc()
            logger.warning("malformed_request", request_id=request_id[:200], why=str(exc))
        return known
    if found is None:
        return known
    if known is not None:
        _compare(known, found, now)
        return known
    is_waited_for = _is_waited_for(found)
    try:
        return _adopt(found, now - timedelta(seconds=written.age), now, is_newest=is_waited_for)
    except IntegrityError:
        return ApprovalRequest.objects.get(request_id=request_id)  # another process was faster


def _adopt(
    found: Found, opened_at: datetime, now: datetime, *, is_newest: bool
) -> ApprovalRequest | None:
    agent = _agent(found)
    with transaction.atomic():
        claim_session(found.session_id, found.tenant_id, found.user_id, Origin.REDIS)
        owner = SessionOwner.objects.get(session_id=found.session_id)
        if (owner.origin, owner.tenant_id) != (Origin.REDIS, found.tenant_id):
            _refuse(found, agent, now)
            return None
        expires_at = opened_at + timedelta(seconds=WAIT_SECONDS)
        if is_newest:
            opened_at = after_the_last(found.session_id, opened_at)
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
            created_at=opened_at,
            expires_at=expires_at,
        )
        details = {"actionType": request.action_type, "origin": str(Origin.REDIS)}
        audit.record(AuditEvent.REQUEST_ADOPTED, agent, now, request=request, details=details)
        transaction.on_commit(lambda: _forget_older(request))
    metrics.adopted_requests.inc()
    return request


def _read(request_id: str, text: bytes) -> Found | None:
    """Return what an agent wrote; None for what it does not ask any more; else `Malformed`."""
    if not ID_PATTERN.fullmatch(request_id):
        raise Malformed("its id has characters that no request id has")
    if len(text) > _MAX_BYTES:
        raise Malformed("it is larger than 256 KiB")
    try:
        body = parse(text)
    except InvalidJSON as exc:
        raise Malformed(str(exc)) from exc
    if not isinstance(body, dict):
        raise Malformed("it is no JSON object")
    if body.get("requestId", request_id) != request_id:
        raise Malformed("its requestId is not that of its key")
    context = body.get("context")
    context = {} if context is None else context
    if not isinstance(context, dict):
        raise Malformed("its context is no JSON object")
    if body.get("status", Status.PENDING) != Status.PENDING:
        # Decided elsewhere, or by us and read back.
        return None
    session_id = body.get("sessionId")
    if not (isinstance(session_id, str) and ID_PATTERN.fullmatch(session_id)):
        raise Malformed("it has no usable sessionId")
    for member in ("tenantId", "userId"):
        if not is_identifier(body.get(member)):
            raise Malformed(f"it has no usable {member}")
    action = body.get("actionType")
    if not (isinstance(action, str) and 0 < len(action) <= _MAX_ACTION and action.isprintable()):
        raise Malformed("it has no usable actionType")
    message = body.get("message") or ""
    if not (isinstance(message, str) and len(message) <= _MAX_MESSAGE and "\0" not in message):
        raise Malformed("its message is unusable")
    agent_id = body.get("agentId")
    return Found(
        request_id=request_id,
        session_id=session_id,
        tenant_id=body["tenantId"],
        user_id=body["userId"],
        action_type=action,
        message=message,
        context=context,
        agent_id=str(agent_id) if is_identifier(agent_id) else "",
    )


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
        known.context_digest,
    ) == (
        found.session_id,
        found.tenant_id,
        found.user_id,
        found.action_type,
        digest(found.context),
    )


def _refuse(found: Found, agent: Actor, now: datetime) -> None:
    """Audit, once, that an agent asks in a session that is somebody else's."""
    told = AuditEvent.SESSION_REFUSED
    marks = {"session_id": found.session_id, "tenant_id": found.tenant_id, "event": told}
    if not AuditRecord.objects.filter(actor_kind=ActorKind.AGENT, **marks).exists():
        details = {"requestId": found.request_id}
        audit.record(told, agent, now, session_id=found.session_id, details=details)


def _is_waited_for(found: Found) -> bool:
    """Say whether the session's key names it: the agent's own word for its newest question."""
    try:
        return signalling.waiting_request(found.session_id) == found.request_id
    except (RedisError, OSError):
        return False


def _forget_older(request: ApprovalRequest) -> None:
    newer = ApprovalRequest.objects.filter(
        session_id=request.session_id, created_at__gt=request.created_at
    )
    if newer.exists():
        return
    try:
        signalling.forget_other_signals(request)
    except (RedisError, OSError) as exc:
        logger.warning("redis_away", error=str(exc))


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
