"""Sends Redis the openings, adoptions and ends without a decision that it missed, because it was
away or the process died before it sent them.

Until Redis has it, a session's key may hold the answer to the question before, and a request's
key may say `pending`. Decisions are not marked here: the outbox sends their signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import Q
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.jsontext import InvalidJSON
from dwp_project.outages import DATABASE_AWAY
from hitl import sessions
from hitl.delivery import commands, request_key
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

logger = get_logger(__name__)

# After this many requests another task gets the thread. Chosen.
_AT_ONCE = 100


def mark_missed(request: ApprovalRequest) -> None:
    """Have a relay send the request to Redis as soon as it can; never raises."""
    try:
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=True)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def clear_missed(*requests: ApprovalRequest) -> None:
    """Record that Redis has the requests as these objects have them; one whose row was changed
    since stays marked."""
    sent = [
        Q(
            pk=request.pk,
            status=request.status,
            approvals=request.approvals,
            escalated_at=request.escalated_at,
        )
        for request in requests
        if request.is_missed_by_redis
    ]
    as_sent = ApprovalRequest.objects.filter(reduce(or_, sent, Q()))
    if len(sent) == 1:
        as_sent.update(is_missed_by_redis=False)
    elif sent:
        # Whoever locks several rows does it in the order of their keys.
        locked = as_sent.order_by("pk").select_for_update()
        with transaction.atomic():
            rows = ApprovalRequest.objects.filter(pk__in=locked.values("pk"))
            rows.update(is_missed_by_redis=False)


def drop_older_signals(*requests: ApprovalRequest) -> None:
    """Remove the answer to an older question from the keys of adopted requests' sessions; raises
    `redis.RedisError`."""
    newest = sessions.latest_opened_at([request.session_id for request in requests])
    commands.forget_other_signals(
        [request for request in requests if newest.get(request.session_id) == request.created_at]
    )


def forget_lost_ends(requests: Sequence[ApprovalRequest]) -> None:
    """Have Redis forget that these pending requests have ended, because the database has lost it,
    and a relay announce anew those that were opened here; raises `redis.RedisError`."""
    for request in commands.forget_lost_ends(requests):
        mark_missed(request)


def send_missed() -> None:
    """Send Redis what it has missed, in its present state; raises `redis.RedisError`.

    Any number of processes may do this at once.
    """
    missed = ApprovalRequest.objects.filter(is_missed_by_redis=True)
    for request in missed.order_by("pk")[:_AT_ONCE]:
        try:
            _send(request)
        except ResponseError as exc:
            # Redis answers, but refuses this one request's keys: the others are still sent.
            logger.warning("redis_refuses", request_id=request.request_id, error=str(exc))
            if "WRONGTYPE" not in str(exc):
                continue  # out of memory or read-only, which ends: send it again then
            # Somebody else uses this key, with another type: it is not sent again.
        except InvalidJSON as exc:
            # The row was changed by hand and cannot be sent; the others still are.
            logger.error("request_unreadable", request_id=request.request_id, error=str(exc))
        clear_missed(request)


def _send(request: ApprovalRequest) -> None:
    if request.origin != Origin.REDIS:
        commands.announce(request)
        return
    # Its session's key is its agent's own, and so is its text until its end.
    if request.status != Status.PENDING:
        request_key.refresh(request)
    drop_older_signals(request)
