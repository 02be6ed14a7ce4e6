"""Resyncs: sends what Redis missed besides signals, an opening, an adoption, or an end without a
decision, because Redis was away or the process died before it sent it.

Until Redis has it, a session's key may hold the answer to the question before, and a request's
key may say `pending`. A decision is not marked here: it is in the outbox.
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

# After so many requests another task may have the thread. Chosen.
_AT_ONCE = 100


def mark_missed(request: ApprovalRequest) -> None:
    """Have a relay send the request to Redis as soon as it can; never raises."""
    try:
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=True)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def clear_missed(*requests: ApprovalRequest) -> None:
    """Record that Redis has the requests in the state in which they are given: a change that was
    made since is missed by Redis still."""
    sent = Q()
    for request in requests:
        if request.is_missed_by_redis:
            sent |= Q(
                pk=request.pk,
                status=request.status,
                approvals=request.approvals,
                escalated_at=request.escalated_at,
            )
    if sent:
        ApprovalRequest.objects.filter(sent).update(is_missed_by_redis=False)


def drop_older_signals(*requests: ApprovalRequest) -> None:
    """Remove the answer to an older question from the keys of adopted requests' sessions; raises
    `redis.RedisError`."""
    newest = sessions.latest_opened_at([request.session_id for request in requests])
    commands.forget_other_signals(
        [request for request in requests if newest.get(request.session_id) == request.created_at]
    )


def send_missed() -> None:
    """Send Redis what it has missed, in its present state; raises `redis.RedisError`.

    Any number of processes may do this at once.
    """
    missed = ApprovalRequest.objects.filter(is_missed_by_redis=True)
    for request in missed.order_by("pk")[:_AT_ONCE]:
        try:
            _send(request)
        except ResponseError as exc:
            # Redis answers, and refuses this one request's keys: the others are sent all the same.
            logger.warning("redis_refuses", request_id=request.request_id, error=str(exc))
            if "WRONGTYPE" not in str(exc):
                continue  # out of memory or read-only, which ends: send it again then
            # A key of another kind is no key of ours: nothing is sent to it again.
        except InvalidJSON as exc:
            # The row was changed by hand: it cannot be sent, and the others are all the same.
            logger.error("request_unreadable", request_id=request.request_id, error=str(exc))
        clear_missed(request)


def _send(request: ApprovalRequest) -> None:
    if request.origin != Origin.REDIS:
        return commands.announce(request)
    # Its session's key is its agent's own, and so is its text until something has changed here.
    if request.status != Status.PENDING or request.approvals or request.escalated_at:
        commands.refresh(request)
    drop_older_signals(request)
