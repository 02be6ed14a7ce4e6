"""What a page shows at one moment, and what has changed since the snapshot before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.template.loader import render_to_string

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.approvals import permissions
from hitl.desk import one


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a page shows at one moment: named pieces of HTML in their order, and facts."""

    pieces: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    # When the request expires, in Unix seconds.
    next_expiry: float | None = None

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


def of_request(operator: Operator, pk: int) -> Snapshot | None:
    """Return a snapshot of one request, or None if the operator's tenants have no such request."""
    visible = permissions.visible_to(operator).filter(pk=pk)
    request = visible.select_related("policy").first()
    if request is None:
        return None
    request = services.settle(request)
    state = one.state_context(request, operator)
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
    )
