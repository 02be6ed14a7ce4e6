"""An approval request as clients and agents see it (docs/reference/wire.md, 3.3)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dwp_project.jsontext import digest
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest
from hitl.states import Status


def document(request: ApprovalRequest) -> dict[str, Any]:
    """Return the request as JSON object; what is not known yet is left out."""
    body: dict[str, Any] = {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "userId": request.user_id,
        "tenantId": request.tenant_id,
        "actionType": request.action_type,
        "context": request.context,
        "status": str(request.status),
        "createdAt": milliseconds(request.created_at),
    }
    body |= end_members(request)
    if request.status == Status.APPROVED and request.comment:
        body["comment"] = request.comment
    if request.message:
        body["message"] = request.message
    body |= {
        "expiresAt": milliseconds(request.expires_at),
        "contextDigest": request.context_digest,
        "requestDigest": request_digest(request, context_digest=digest(body["context"])),
    }
    if request.policy is not None and request.policy.risk:
        body["risk"] = request.policy.risk
    if request.policy is not None and request.policy.min_approvals > 1:
        body |= _votes(request)
    return body


def end_members(request: ApprovalRequest) -> dict[str, Any]:
    """Return the members that say how the request stands, and who decided it when."""
    body: dict[str, Any] = {"status": str(request.status)}
    if request.decided_at is not None and request.status == Status.APPROVED:
        body |= {"approvedBy": request.decided_by, "approvedAt": milliseconds(request.decided_at)}
    if request.decided_at is not None and request.status == Status.REJECTED:
        body |= {
            "rejectedBy": request.decided_by,
            "rejectedAt": milliseconds(request.decided_at),
            "reason": request.reason,
        }
    return body


def decision(request: ApprovalRequest) -> dict[str, Any]:
    """Return what approve and reject answer: the decision that stands (wire.md, 3.2)."""
    body = {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "status": str(request.status),
    }
    if request.status == Status.REJECTED:
        body["reason"] = request.reason
    return body


def partial_approval(request: ApprovalRequest) -> dict[str, Any]:
    """Return what approve answers while more people have to agree (wire.md, 3.6)."""
    return decision(request) | _votes(request)


def _votes(request: ApprovalRequest) -> dict[str, Any]:
    return {
        "minApprovals": request.policy.min_approvals if request.policy else 1,
        "votes": [
            {"userId": vote.user_id, "votedAt": milliseconds(vote.voted_at)}
            for vote in request.votes.all()
        ],
    }


def signal(request: ApprovalRequest) -> dict[str, Any]:
    """Return the signal of a decided request: exactly these members (wire.md, 5.2)."""
    if request.decided_at is None or not request.is_decided:
        raise ValueError(f"{request.request_id} is not decided")
    body: dict[str, Any] = {
        "type": "approval" if request.status == Status.APPROVED else "rejection",
        "requestId": request.request_id,
        "status": str(request.status),
    }
    if request.status == Status.REJECTED:
        body["reason"] = request.reason
    return body | {"timestamp": int(request.decided_at.timestamp())}


def milliseconds(moment: datetime) -> int:
    """Return Unix milliseconds."""
    return int(moment.timestamp() * 1000)
