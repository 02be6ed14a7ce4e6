"""Computes the digest over everything that a person is shown of a request, and every rule that
applies to it.

Its opening's record has the digest, so that a row that somebody changed since is not decided.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from dwp_project.jsontext import digest
from hitl.audit.hashing import exact
from hitl.models import ApprovalRequest, Policy

# The columns of a policy that say what it asks.
_RULE = (
    *("min_approvals", "forbid_requester", "required_role", "timeout_seconds", "on_timeout"),
    *("escalate_to_role", "escalate_seconds", "reason_required"),
)


def request_digest(request: ApprovalRequest, *, context_digest: str | None = None) -> str:
    """Return the SHA-256, in hexadecimal, over the canonical JSON of what a person is shown and of
    the rule that applies. Status, votes and term are not part of it: they change.

    `context_digest` is that of the stored context, if the caller has it already. Raises
    `InvalidJSON` if the stored context is none.
    """
    return digest(_shown(request, context_digest or request.stored_digest))


def opening_details(request: ApprovalRequest, owner_user_id: str) -> dict[str, Any]:
    """Return what the record of an opening has to say for the row to be compared with it later.

    `owner_user_id` is the user of the session's owner. The stored context is the one that
    `context_digest` is of: it has just been written.
    """
    shown = _shown(request, request.context_digest)
    owner = {
        "tenantId": request.tenant_id,
        "userId": owner_user_id,
        "origin": str(request.origin),
    }
    details = {
        "userId": request.user_id,
        "messageDigest": sha256(request.message.encode()).hexdigest(),
        "createdAt": exact(request.created_at),
        "expiresAt": exact(request.expires_at),
        "owner": owner,
        "requestDigest": digest(shown),
    }
    if request.agent_id:
        details["agentId"] = request.agent_id
    if request.policy is not None:
        details["rule"] = rule_members(request.policy)
    return details


def rule_members(policy: Policy) -> dict[str, Any]:
    """Return what this version of a policy asks, by the names of its columns.

    Without a risk there is no such member, as in the records and digests of before there were any.
    """
    members = {name: getattr(policy, name) for name in _RULE}
    return members | ({"risk": policy.risk} if policy.risk else {})


def _shown(request: ApprovalRequest, context_digest: str) -> dict[str, Any]:
    policy = request.policy
    return {
        "requestId": request.request_id,
        "sessionId": request.session_id,
        "tenantId": request.tenant_id,
        "userId": request.user_id,
        "origin": str(request.origin),
        "agentId": request.agent_id,
        "actionType": request.action_type,
        "message": request.message,
        "contextDigest": context_digest,
        "createdAt": exact(request.created_at),
        "policy": None
        if policy is None
        else {"pattern": policy.pattern, "version": policy.version},
        "rule": None if policy is None else rule_members(policy),
    }
