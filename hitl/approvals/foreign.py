"""Audits that somebody tried to decide another tenant's request, seconds after the answer (wire.md,
3.6): neither the answer's time nor that of the next one says whether there is such a request."""

from __future__ import annotations

import atexit
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock, Timer

from django.core.handlers.asgi import ASGIRequest
from structlog.stdlib import get_logger

from dwp_project import offload
from dwp_project.gateway.current_request import current_request
from dwp_project.outages import DATABASE_AWAY
from hitl import errors
from hitl.actors import Actor
from hitl.approvals import refusals
from hitl.models import ApprovalRequest, is_id

logger = get_logger(__name__)

# How long after the first of them those that wait are written. Chosen: more requests than one are
# answered meanwhile, and who watches for a slow one does not know when.
_DELAY_SECONDS = (2.0, 10.0)
# Chosen: more than a process can be asked in that time; some megabytes.
_MOST = 5_000


@dataclass(frozen=True, slots=True)
class ForeignDecision:
    """A decision on a request that the actor does not see: another tenant's, or none."""

    request_id: str
    actor: Actor
    # `approve`, `reject` or `cancel`.
    tried: str


class WaitingDecisions:
    """The decisions that are still to be looked up, each with the time of its first try."""

    def __init__(self) -> None:
        self._tried_at: dict[ForeignDecision, datetime] = {}
        self._timer: Timer | None = None
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._tried_at)

    def add(self, decision: ForeignDecision, tried_at: datetime) -> None:
        """Keep `decision` until it is taken; the first one has the timer start."""
        with self._lock:
            if len(self._tried_at) >= _MOST:
                logger.error("foreign_decision_not_recorded", request_id=decision.request_id)
                return
            self._tried_at.setdefault(decision, tried_at)
            if self._timer is None:
                timer = Timer(random.uniform(*_DELAY_SECONDS), _write_soon)  # noqa: S311
                timer.daemon = True
                with suppress(RuntimeError):  # no thread is to be had: the next one tries again
                    timer.start()
                    self._timer = timer

    def take(self) -> dict[ForeignDecision, datetime]:
        """Return what waits, in the order of the tries, and stop the timer."""
        with self._lock:
            taken, self._tried_at = self._tried_at, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return taken


waiting = WaitingDecisions()


def record(request_id: str, actor: Actor, now: datetime, *, tried: str) -> None:
    """Record that the actor tried to decide another tenant's request, if the id is of one.

    The record is in the deployment's own chain: in the actor's, it would reveal that there is
    such a request. It is written later, and at once where no server answers, as in a command.
    """
    if not is_id(request_id):
        return
    decision = ForeignDecision(request_id, actor, tried)
    if isinstance(current_request(), ASGIRequest):
        waiting.add(decision, now)
    else:
        _write({decision: now})


@atexit.register
def write_waiting() -> None:
    """Look up and record what waits; what waits while the database is away goes on waiting."""
    decisions = waiting.take()
    if not decisions:
        return
    try:
        _write(decisions)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())
        for decision, tried_at in decisions.items():
            waiting.add(decision, tried_at)


def _write_soon() -> None:
    with suppress(RuntimeError):  # the process ends, and writes what waits itself
        offload.start_afterwards(write_waiting)


def _write(decisions: Mapping[ForeignDecision, datetime]) -> None:
    ids = {decision.request_id for decision in decisions}
    requests = ApprovalRequest.objects.filter(request_id__in=ids)
    tenants = dict(requests.values_list("request_id", "tenant_id"))
    for decision, tried_at in decisions.items():
        actor = decision.actor
        if tenants.get(decision.request_id, actor.tenant_id) == actor.tenant_id:
            continue
        refusals.record_refusal(
            errors.RequestNotFound(),
            ApprovalRequest(request_id=decision.request_id),  # only its id is recorded
            replace(actor, tenant_id=""),
            tried_at,
            tried=decision.tried,
            extra={"tenant": actor.tenant_id} if actor.tenant_id else {},
        )
