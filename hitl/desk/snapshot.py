"""How things stand, as a live stream tells it: whole at first, then what differs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from django.template.loader import render_to_string

from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.desk import inbox as inboxes
from hitl.desk import one, rows
from hitl.models import ApprovalRequest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a page shows at one moment: pieces of HTML by name, in order, and facts about them."""

    pieces: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    # When the next of the requests expires, in Unix seconds.
    next_expiry: float | None = None

    def since(self, before: Snapshot | None) -> dict[str, Any] | None:
        """Return what to tell a page that shows `before`; None if nothing has changed."""
        if before is not None and (before.pieces, before.facts) == (self.pieces, self.facts):
            return None
        known = before.pieces if before is not None else {}
        return {
            **self.facts,
            "now": int(time.time() * 1000),
            "order": list(self.pieces),
            "pieces": {name: html for name, html in self.pieces.items() if known.get(name) != html},
        }


def of_inbox(operator: Operator) -> Snapshot:
    """Return how the operator's inbox stands."""
    inbox = inboxes.read(operator)
    return Snapshot(
        pieces={str(pk): html for pk, html in rows.render(inbox, operator).items()},
        facts={"count": inbox.count},
        next_expiry=inbox.requests[0].expires_at.timestamp() if inbox.requests else None,
    )


def of_request(operator: Operator, pk: int) -> Snapshot | None:
    """Return how one request of the operator's tenants stands, or None if there is none."""
    rows_of_tenants = ApprovalRequest.objects.filter(pk=pk, tenant_id__in=operator.tenants)
    request = rows_of_tenants.select_related("policy").first()
    if request is None:
        return None
    request = services.settle(request)
    state = one.state_context(request, operator)
    return Snapshot(
        pieces={"state": render_to_string("hitl/state.html", state)},
        facts={
            "isPending": state["is_pending"],
            "status": request.status,
            "mayApprove": state["may_approve"],
            "mayReject": state["may_reject"],
        },
        next_expiry=request.expires_at.timestamp() if state["is_pending"] else None,
    )
