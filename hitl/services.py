"""The only writer of a request's status: open, approve, reject, cancel, expire.

Every change is a conditional update that touches one row or none, and commits together
with its audit record and, for a decision, its signal. Redis hears of it after the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.outages import DATABASE_AWAY
from hitl import adoption, audit, errors, metrics, missed, opening, outbox, sending, signalling
from hitl.actors import Actor, the_clock
from hitl.models import ID_PATTERN, ApprovalRequest, OutboxEntry
from hitl.opening import Question, announce_again, claim_session
from hitl.states import DECIDED, EVENT_OF, TRANSITIONS, Origin, Status

__all__ = [
    "Question",
    "announce_again",
    "approve",
    "cancel",
    "claim_session",
    "expire_overdue",
    "find",
    "open_request",
    "reject",
    "settle",
    "wake_topic",
]

logger = get_logger(__name__)

# Said when a client rejects without a reason (docs/reference/wire.md, 3.2).
DEFAULT_REASON = "User rejected"


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
    if origin is Origin.REST and question.request_id is not None:
        # An agent may have written a question of this id a moment ago: then it is known first.
        known = ApprovalRequest.objects.filter(request_id=question.request_id)
        if not known.exists() and not wakeup.is_paused():
            adoption.adopt(question.request_id)
    return opening.open_request(question, actor, origin, now=now)


def find(request_id: str, tenant_id: str, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the tenant's request, expired first if it is overdue; else `RequestNotFound`."""
    request = None
    if ID_PATTERN.fullmatch(request_id):  # PostgreSQL takes no NUL, and odd ids name nothing
        request = ApprovalRequest.objects.filter(request_id=request_id).first()
        if request is None or (request.origin == Origin.REDIS and not request.is_decided):
            # An agent may have written it to Redis a moment ago, or something else since.
            request = adoption.adopt(request_id)
    if request is None or request.tenant_id != tenant_id:
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


def cancel(
    request_id: str, actor: Actor, *, reason: str = "", now: datetime | None = None
) -> ApprovalRequest:
    """Withdraw a pending request: nothing is signalled; raises as `approve` does."""
    return _end(request_id, Status.CANCELLED, actor, reason=reason, now=now)


def expire_overdue(*, now: datetime | None = None, limit: int = 100) -> int:
    """Expire up to `limit` overdue requests, each in its own transaction; return how many.

    Any number of processes may do this at once: each request expires in one of them.
    """
    now = now or timezone.now()
    due = list(ApprovalRequest.objects.overdue(now).order_by("expires_at")[:limit])
    return sum(settle(request, now=now).status == Status.EXPIRED for request in due)


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
    # Our own waiters first: with a frozen Redis the rest takes a second.
    transaction.on_commit(_quietly(lambda: wakeup.publish(wake_topic(request.request_id))))
    if to in DECIDED:
        entry = outbox.enqueue(request, now)
        transaction.on_commit(_quietly(lambda: _send(entry)))
    else:
        transaction.on_commit(_quietly(lambda: _refresh(request)))
    transaction.on_commit(metrics.ended_requests.labels(str(to)).inc)
    return True


def _refresh(request: ApprovalRequest) -> None:
    try:
        if not wakeup.is_paused():
            return signalling.refresh(request)
    except (RedisError, OSError):
        missed.note(request)
        raise
    missed.note(request)


def _send(entry: OutboxEntry) -> None:
    """Publish at once; what that does not deliver is a relay's, told of it here."""
    if wakeup.is_paused():
        return  # Redis failed a moment ago: nobody waits for the next failure
    if sending.send([entry]).is_owed:
        wakeup.publish(outbox.TOPIC)


def _quietly(step: Callable[[], None]) -> Callable[[], None]:
    """Return `step` for after the commit: what is committed never becomes an error answer."""

    def run() -> None:
        try:
            step()
        except (RedisError, OSError) as exc:
            wakeup.pause()
            logger.warning("redis_away", error=str(exc))
        except DATABASE_AWAY as exc:
            logger.warning("database_away", error=str(exc).strip())
        except Exception:
            logger.exception("after_commit_failed")

    return run
