"""What is done once a change of a request is committed, and never turns it into an error."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.outages import DATABASE_AWAY
from hitl.delivery import commands, live, resync
from hitl.models import ApprovalRequest

logger = get_logger(__name__)


def run(step: Callable[[], object]) -> None:
    """Have `step` done when the transaction has committed; where it fails, that is logged."""
    transaction.on_commit(quietly(step))


def refresh(request: ApprovalRequest) -> None:
    """Have the request's copy in Redis brought up to date when the change is committed."""
    run(lambda: _refresh(request))


def _refresh(request: ApprovalRequest) -> None:
    if not wakeup.is_paused():
        with wakeup.redis_may_be_away("redis_away") as call:
            commands.refresh(request)
        if not call.has_failed:
            return resync.clear_missed(request)
    resync.mark_missed(request)


def notify_desk(request: ApprovalRequest) -> None:
    """Have the operators' pages told of the change when it is committed.

    Called last of all: what an agent waits for comes first.
    """
    run(lambda: live.tell(request))


def quietly(step: Callable[[], object]) -> Callable[[], None]:
    """Return `step` for after the commit: what is committed never becomes an error answer."""

    def run() -> None:
        try:
            with wakeup.redis_may_be_away("redis_away"):
                step()
        except DATABASE_AWAY as exc:
            logger.warning("database_away", error=str(exc).strip())
        except Exception:
            logger.exception("after_commit_failed")

    return run
