"""What a page shows at one moment, and what has changed since the snapshot before."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import get_language

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.actors import person_key
from hitl.desk import aftermath, one
from hitl.desk.one import RequestReading
from hitl.models import ApprovalRequest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a page shows at one moment: named pieces of HTML in their order, and facts."""

    pieces: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    # When the request expires, in Unix seconds.
    next_expiry: float | None = None
    # Whether nothing of it can change any more.
    is_final: bool = False

    def since(self, before: Snapshot | None) -> dict[str, Any] | None:
        """Return the message for a page that shows `before`, or None if nothing has changed."""
        if before is not None and (before.pieces, before.facts) == (self.pieces, self.facts):
            return None
        known = before.pieces if before is not None else {}
        return {
            **self.facts,
            "now": int(clocks.estimate().timestamp() * 1000),
            "order": list(self.pieces),
            "pieces": {name: html for name, html in self.pieces.items() if known.get(name) != html},
        }


class SharedReading:
    """A request as it was read last, for all pages of the process that show it."""

    def __init__(self, reading: RequestReading) -> None:
        self.reading = reading
        self._snapshots: dict[tuple[Any, ...], Snapshot] = {}
        self._lock = threading.Lock()

    def snapshot(self, operator: Operator) -> Snapshot | None:
        """Return what the operator sees of it, made once for all who see the same; None if the
        request is of none of the operator's tenants."""
        request = self.reading.request
        if request.tenant_id not in operator.roles:
            return None
        names = {vote.person for vote in self.reading.votes} | {person_key(request.user_id)}
        is_named = person_key(operator.username) in names
        who = operator.username if is_named else ""
        variant = (get_language(), operator.roles[request.tenant_id], who)
        with self._lock:
            if variant not in self._snapshots:
                self._snapshots[variant] = _made(self.reading, operator)
            return self._snapshots[variant]


def read(pk: int) -> SharedReading | None:
    """Read a request as it is now, or return None if there is none."""
    request = ApprovalRequest.objects.filter(pk=pk).select_related("policy").first()
    return None if request is None else SharedReading(one.read(services.settle(request)))


def of_request(operator: Operator, pk: int) -> Snapshot | None:
    """Return a snapshot of one request, or None if the operator's tenants have no such request."""
    reading = read(pk)
    return None if reading is None else reading.snapshot(operator)


def _made(reading: RequestReading, operator: Operator) -> Snapshot:
    request, state = reading.request, one.context_of(reading, operator)
    return Snapshot(
        pieces={
            "state": render_to_string("hitl/state.html", state),
            "policy": render_to_string("hitl/in_force.html", state),
            "facts": render_to_string("hitl/decide_facts.html", state),
        },
        facts={
            "isPending": state["is_pending"],
            "status": request.status,
            "mayApprove": state["may_approve"],
            "mayReject": state["may_reject"],
        },
        next_expiry=request.expires_at.timestamp() if state["is_pending"] else None,
        is_final=aftermath.is_final(request, reading.entry),
    )
