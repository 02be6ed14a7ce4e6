"""What Redis has missed of a request while it was away: its opening, or an end without decision.

A decision is the outbox's. But a session's key may hold the answer to the question before, and
a request's key may say `pending`, until Redis is told; a relay makes up for it.
"""

from __future__ import annotations

from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.outages import DATABASE_AWAY
from hitl import signalling
from hitl.models import ApprovalRequest
from hitl.states import Origin

logger = get_logger(__name__)

# How many are made up for before somebody else may have the thread.
_AT_ONCE = 100


def note(request: ApprovalRequest) -> None:
    """Have a relay tell Redis as soon as it can; never raises."""
    try:
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=True)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def make_up() -> None:
    """Tell Redis what it has missed, as it stands now; raises `redis.RedisError`.

    Any number of processes may do this at once.
    """
    missed = ApprovalRequest.objects.filter(is_missed_by_redis=True)
    for request in missed.order_by("pk")[:_AT_ONCE]:
        try:
            if request.origin == Origin.REDIS:
                signalling.refresh(request)  # its session's key is its agent's own
            else:
                signalling.announce(request)
        except ResponseError as exc:  # a key of another kind is no key of ours
            logger.warning("redis_refuses", request_id=request.request_id, error=str(exc))
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=False)
