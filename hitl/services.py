"""The only writer of a request's status: open, approve, reject, cancel, expire.

Every change is a conditional update that touches one row or none, and commits together
with its audit record and, for a decision, its signal. Redis hears of it after the commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.jsontext import compact, digest
from hitl import audit, errors, outbox, signalling
from hitl.actors import Actor, the_clock
from hitl.models import ID_PATTERN, ApprovalRequest, SessionOwner
from hitl.states import DECIDED, EVENT_OF, TRANSITIONS, AuditEvent, Origin, Status

logger = get_logger(__name__)

# Said when a client rejects without a reason (docs/reference/wire.md, 3.2).
DEFAULT_REASON = "User rejected"


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent asks: the action, its context as JSON object, and how long it waits."""

    session_id: str
    action_type: str
    message: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: int | None = None
    request_id: str | None = None
    agent_id: str = ""


def wake_topic(request_id: str) -> str:
    """Return the wake-up topic on which a request's end is told."""
    return f"request:{request_id}"


def open_request(
    question: Question, actor: Actor, origin: Origin, *, now: datetime | None = None
) -> tuple[ApprovalRequest, bool]:
    """Open a request in `actor`'s name; return it and whether it is new.

    The same question under the same id again returns what stands. Raises
    `SessionNotFound` in somebody else's session, `RequestIdTaken` for another question
    under a known id (wire.md, 3.5).
    """
    now = now or timezone.now()
    try:
        with transaction.atomic():
            is_owner = claim_session(question.session_id, actor.tenant_id, actor.id, origin)
            if is_owner:
                return _open(question, actor, origin, now)
    except IntegrityError:
        # Another transaction took the id first, in another session.
        with transaction.atomic():
            return _standing(question, actor)
    with transaction.atomic():
        audit.record(AuditEvent.SESSION_REFUSED, actor, now, session_id=question.session_id)
    raise errors.SessionNotFound


def claim_session(session_id: str, tenant_id: str, user_id: str, origin: Origin) -> bool:
    """Make the session belong to this user if nobody's; say whether it is theirs.

    Locks the session's row until the transaction ends, so that requests of one session
    are numbered in the order they commit.
    """
    SessionOwner.objects.get_or_create(
        session_id=session_id,
        defaults={"tenant_id": tenant_id, "user_id": user_id, "origin": origin},
    )
    owner = SessionOwner.objects.select_for_update().get(session_id=session_id)
    return (owner.tenant_id, owner.user_id, owner.origin) == (tenant_id, user_id, origin)


def find(request_id: str, tenant_id: str, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the tenant's request, expired first if it is overdue; else `RequestNotFound`."""
    request = None
    if ID_PATTERN.fullmatch(request_id):  # PostgreSQL takes no NUL, and odd ids name nothing
        request = ApprovalRequest.objects.filter(request_id=request_id, tenant_id=tenant_id).first()
    if request is None:
        raise errors.RequestNotFound
    return settle(request, now=now)


def settle(request: ApprovalRequest, *, now: datetime | None = None) -> ApprovalRequest:
    """Return `request` as it stands, made `expired` if its time is over."""
    now = now or timezone.now()
    if request.status == Status.PENDING and request.expires_at <= now:
        with transaction.atomic():
            _leave_pending(request, Status.EXPIRED, the_clock(request.tenant_id), now)
        request.refresh_from_db()
    return request


def approve(request_id: str, actor: Actor, *, now: datetime | None = None) -> ApprovalRequest:
    """Record the yes of `actor`.

    Raises `RequestNotFound`, `MayNotDecide`, `AlreadyDecided`, `RequestExpired`,
    `RequestCancelled`.
    """
    return _end(request_id, Status.APPROVED, actor, now=now)


def reject(
    request_id: str, actor: Actor, *, reason: str = "", now: datetime | None = None
) -> ApprovalRequest:
    """Record the no of `actor`; raises as `approve` does."""
    return _end(request_id, Status.REJECTED, actor, reason=reason or DEFAULT_REASON, now=now)


def cancel(request_id: str, actor: Actor, *, now: datetime | None = None) -> ApprovalRequest:
    """Withdraw a pending request: nothing is signalled; raises as `approve` does."""
    return _end(request_id, Status.CANCELLED, actor, now=now)


def expire_overdue(*, now: datetime | None = None, limit: int = 500) -> int:
    """Expire up to `limit` overdue requests, each in its own transaction; return how many.

    Any number of processes may do this at once: each request expires in one of them.
    """
    now = now or timezone.now()
    due = list(ApprovalRequest.objects.overdue(now).order_by("expires_at")[:limit])
    return sum(settle(request, now=now).status == Status.EXPIRED for request in due)


def _open(
    question: Question, actor: Actor, origin: Origin, now: datetime
) -> tuple[ApprovalRequest, bool]:
    if (
        question.request_id is not None
        and ApprovalRequest.objects.filter(request_id=question.request_id).exists()
    ):
        return _standing(question, actor)
    seconds = question.timeout_seconds or settings.HITL_DEFAULT_TIMEOUT_SECONDS
    request = ApprovalRequest.objects.create(
        request_id=question.request_id or f"req_{uuid.uuid4().hex}",
        session_id=question.session_id,
        tenant_id=actor.tenant_id,
        user_id=actor.id,
        origin=origin,
        agent_id=question.agent_id,
        action_type=question.action_type,
        message=question.message,
        context_text=compact(question.context),
        context_digest=digest(question.context),
        body_digest=_body_digest(question, actor),
        created_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )
    audit.record(
        AuditEvent.REQUEST_OPENED,
        actor,
        now,
        request=request,
        details={"actionType": request.action_type, "origin": str(origin)},
    )
    transaction.on_commit(_quietly(lambda: signalling.announce(request)))
    return request, True


def _standing(question: Question, actor: Actor) -> tuple[ApprovalRequest, bool]:
    """Return what stands under the question's id if it is the same question."""
    request = ApprovalRequest.objects.get(request_id=question.request_id)
    same = (request.tenant_id, request.body_digest) == (
        actor.tenant_id,
        _body_digest(question, actor),
    )
    if not same:
        raise errors.RequestIdTaken
    return request, False


def _body_digest(question: Question, actor: Actor) -> str:
    return digest(
        [
            actor.id,
            question.session_id,
            question.action_type,
            question.message,
            question.context,
            question.timeout_seconds,
        ]
    )


def _end(
    request_id: str, to: Status, actor: Actor, *, reason: str = "", now: datetime | None = None
) -> ApprovalRequest:
    now = now or timezone.now()
    request = find(request_id, actor.tenant_id, now=now)
    if not actor.may_decide_for(request.user_id):
        raise errors.MayNotDecide
    with transaction.atomic():
        if _leave_pending(request, to, actor, now, reason=reason):
            return request
    request.refresh_from_db()
    settle(request, now=now)
    match request.status:
        case Status.EXPIRED:
            raise errors.RequestExpired
        case Status.CANCELLED:
            raise errors.RequestCancelled
        case _:
            raise errors.AlreadyDecided(request)


def _leave_pending(
    request: ApprovalRequest, to: Status, actor: Actor, now: datetime, *, reason: str = ""
) -> bool:
    """Take the request from `pending` to `to` if it is still there; say whether this did it.

    The gate is the update's WHERE: of any number of transactions, one changes the row.
    """
    assert to in TRANSITIONS[Status.PENDING]
    still = ApprovalRequest.objects.filter(pk=request.pk)
    still = still.overdue(now) if to is Status.EXPIRED else still.undecided_at(now)
    change = {
        "status": to,
        "decided_at": now,
        "decided_by": actor.id,
        "decided_channel": actor.channel,
        "reason": reason,
    }
    if not still.update(**change):
        return False
    for name, value in change.items():
        setattr(request, name, value)
    details = {"reason": reason} if reason else {}
    audit.record(EVENT_OF[to], actor, now, request=request, details=details)
    if to in DECIDED:
        entry = outbox.enqueue(request, now)
        transaction.on_commit(_quietly(lambda: outbox.send(entry)))
    else:
        transaction.on_commit(_quietly(lambda: signalling.refresh(request)))
    transaction.on_commit(_quietly(lambda: wakeup.publish(wake_topic(request.request_id))))
    return True


def _quietly(step: Callable[[], None]) -> Callable[[], None]:
    """Return `step` for after the commit: what is committed never becomes an error answer."""

    def run() -> None:
        try:
            step()
        except (RedisError, OSError) as exc:
            logger.warning("redis_away", error=str(exc))
        except Exception:
            logger.exception("after_commit_failed")

    return run
