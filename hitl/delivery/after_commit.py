"""Runs steps after the commit of a change; one that fails never turns the change into an error."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.dispatch import Signal
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.outages import DATABASE_AWAY
from hitl.delivery import request_key, resync
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Status

logger = get_logger(__name__)

# A signal of Django's, not an agent's: a change of `request` is committed. The desk listens. With a
# list `carried`, it adds what has to be published to that instead of publishing it.
request_changed = Signal()


def run(step: Callable[[], object]) -> None:
    """Run `step` when the transaction has committed; if it fails, log that and go on."""

    def run_quietly() -> None:
        try:
            with wakeup.redis_may_be_away("redis_away"):
                step()
        except DATABASE_AWAY as exc:
            logger.warning("database_away", error=str(exc).strip())
        except Exception:
            logger.exception("after_commit_failed")

    transaction.on_commit(run_quietly)


def refresh(request: ApprovalRequest, end: AuditRecord | None = None) -> None:
    """Bring the request's copy in Redis up to date after the commit; `end` is the record of its
    end, if it has just ended."""
    run(lambda: _refresh(request, end))


def _refresh(request: ApprovalRequest, end: AuditRecord | None) -> None:
    if not wakeup.is_paused():
        with wakeup.redis_may_be_away("redis_away") as call:
            request_key.refresh(request, end)
        if not call.has_failed:
            # An opening or adoption that Redis has missed takes more than this: a relay does it.
            if request.status != Status.PENDING:
                resync.clear_missed(request)
            return
    resync.mark_missed(request)


def notify_desk(request: ApprovalRequest) -> None:
    """Tell the operators' pages of the change after the commit.

    Called last of all: what an agent waits for comes first.
    """
    run(lambda: request_changed.send(ApprovalRequest, request=request, carried=None))


def desk_messages(request: ApprovalRequest) -> list[wakeup.Message]:
    """Return the messages that tell the operators' pages of a change that is committed, for a
    caller that sends Redis something else as well."""
    carried: list[wakeup.Message] = []
    # What the agent waits for is sent even if this fails, which Django logs.
    request_changed.send_robust(ApprovalRequest, request=request, carried=carried)
    return carried
