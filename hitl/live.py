"""What tells the operators' open pages that a request has changed."""

from __future__ import annotations

from hitl.models import ApprovalRequest


def tell(request: ApprovalRequest) -> None:
    """Tell the pages of the request's tenant; never raises and never waits for Redis."""
