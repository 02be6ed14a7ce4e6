"""What Redis has missed of a request: its opening, its adoption, or an end without a decision,
because Redis was away or the process that did it died before it could tell.

A decision is the outbox's. But a session's key may hold the answer to the question before, and
a request's key may say `pending`, until Redis is told; a relay makes up for it.
"""

from __future__ import annotations

from django.db.models import Q
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.jsontext import InvalidJSON
from dwp_project.outages import DATABASE_AWAY
from hitl import sessions
from hitl.delivery import commands
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

logger = get_logger(__name__)

# How many are made up for before somebody else may have the thread.
_AT_ONCE = 100


def mark_missed(request: ApprovalRequest) -> None:
    """Have a relay tell Redis as soon as it can; never raises."""
    try:
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=True)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def clear_missed(*requests: ApprovalRequest) -> None:
    """Take back that Redis has missed anything of the requests, as they were when that was told:
    what has become of one since may be owed anew."""
    told = Q()
    for request in requests:
        if request.is_missed_by_redis:
            told |= Q(
                pk=request.pk,
                status=request.status,
                approvals=request.approvals,
                escalated_at=request.escalated_at,
            )
    if told:
        ApprovalRequest.objects.filter(told).update(is_missed_by_redis=False)


def drop_older_signals(*requests: ApprovalRequest) -> None:
    """Remove the answer to an older question from the keys of adopted requests' sessions; raises
    `redis.RedisError`."""
    newest = sessions.latest_opened_at([request.session_id for request in requests])
    commands.forget_other_signals(
        [one for one in requests if newest.get(one.session_id) == one.created_at]
    )


def send_missed() -> None:
    """Tell Redis what it has missed, as it stands now; raises `redis.RedisError`.

    Any number of processes may do this at once.
    """
    missed = ApprovalRequest.objects.filter(is_missed_by_redis=True)
    for request in missed.order_by("pk")[:_AT_ONCE]:
        try:
            _send(request)
        except ResponseError as exc:
            logger.warning("redis_refuses", request_id=request.request_id, error=str(exc))
            if "WRONGTYPE" not in str(exc):
                continue  # out of memory, read-only: it takes this when it is itself again
            # A key of another kind is no key of ours.
        except InvalidJSON as exc:
            # Changed by hand: there is nothing to tell, and all others are told none the less.
            logger.error("request_unreadable", request_id=request.request_id, error=str(exc))
        clear_missed(request)


def _send(request: ApprovalRequest) -> None:
    if request.origin != Origin.REDIS:
        return commands.announce(request)
    # Its session's key is its agent's own, and so is its text while nothing has come of it.
    if request.status != Status.PENDING or request.approvals or request.escalated_at:
        commands.refresh(request)
    drop_older_signals(request)
