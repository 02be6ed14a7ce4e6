"""Schemas of the approvals API in its OpenAPI description, and the request of its examples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dwp_project.gateway.openapi import (
    TENANT,
    Schema,
    component,
    list_of,
    member,
    record,
)
from dwp_project.jsontext import compact, digest
from hitl.models import ApprovalRequest
from hitl.models.policies import MOST_APPROVALS
from hitl.models.requests import MAX_ID_BYTES
from hitl.states import DECIDED, Origin, Risk, Status

# Not only what REST may open: agents on Redis build ids from any text.
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
_REASON = member("string", "Why not; `User rejected` where nobody gave a reason.")


def _milliseconds(what: str) -> Schema:
    return member("integer", f"{what}, in Unix milliseconds.", format="int64")


_VOTES: dict[str, Schema] = {
    "minApprovals": member(
        "integer", "How many people have to agree.", minimum=2, maximum=MOST_APPROVALS
    ),
    "votes": member(
        list_of(
            record({"userId": {"type": "string"}, "votedAt": _milliseconds("When they agreed")})
        ),
        "Who has agreed so far, in that order.",
    ),
}
APPROVAL_REQUEST = component(
    "ApprovalRequest",
    record(
        {
            "requestId": member(_ID, "Ids made here begin `req_`."),
            "sessionId": member(_ID, "The session whose agent waits for the answer."),
            "userId": member("string", "Who asks; may decide as well as an approver."),
            "tenantId": {"type": "string"},
            "actionType": member("string", "What the agent wants to do, such as `delete_mail`."),
            "context": member(
                {}, "The particulars of the action: an object, or what an agent on Redis wrote."
            ),
            "status": {"type": "string", "enum": list(Status.values)},
            "createdAt": _milliseconds("When it was asked"),
            "approvedBy": member("string", "Once approved: who said yes."),
            "approvedAt": _milliseconds("Once approved: when"),
            "comment": member("string", "Once approved, if there is one: what they said of it."),
            "rejectedBy": member("string", "Once rejected: who said no."),
            "rejectedAt": _milliseconds("Once rejected: when"),
            "reason": _REASON,
            "message": member("string", "The question, for people."),
            "expiresAt": _milliseconds("When it expires unless somebody decides"),
            "contextDigest": member(
                "string",
                "SHA-256 of the context's canonical JSON: proof of what was decided on.",
                pattern="^[0-9a-f]{64}$",
            ),
            "requestDigest": member(
                "string",
                "SHA-256 over all that a person is shown and every rule that applies.",
                pattern="^[0-9a-f]{64}$",
            ),
            "risk": member(
                {"type": "string", "enum": list(Risk.values)},
                "Where the policy gives the action one: how much harm it can do.",
            ),
            **_VOTES,
        },
        optional=[
            *(
                "approvedBy",
                "approvedAt",
                "comment",
                "rejectedBy",
                "rejectedAt",
                "reason",
                "message",
                "risk",
            ),
            *_VOTES,
        ],
        description="A question of an agent and its answer (docs/reference/wire.md, 3.3).",
    ),
)
DECISION = component(
    "Decision",
    record(
        {
            "requestId": _ID,
            "sessionId": _ID,
            "status": member(
                {"type": "string", "enum": sorted(DECIDED)}, "The decision that stands."
            ),
            "reason": _REASON,
        },
        optional=["reason"],
        description="The decision that stands, whoever made it (docs/reference/wire.md, 3.2).",
    ),
)
PARTIAL_APPROVAL = component(
    "PartialApproval",
    record(
        {
            "requestId": _ID,
            "sessionId": _ID,
            "status": {"type": "string", "enum": [Status.PENDING.value]},
            **_VOTES,
        },
        description="A yes where the policy wants more (docs/reference/wire.md, 3.6).",
    ),
)
WITHDRAWAL = component(
    "Withdrawal",
    record(
        {
            "requestId": _ID,
            "sessionId": _ID,
            "status": {"type": "string", "enum": [Status.CANCELLED.value]},
        }
    ),
)
REQUEST_PAGE = component(
    "ApprovalRequestPage",
    record(
        {
            "items": list_of(APPROVAL_REQUEST),
            "nextCursor": member("string", "`cursor` of the next page; not on the last one."),
        },
        optional=["nextCursor"],
    ),
)


def _signal(kind: str, status: Status, **more: Schema) -> Schema:
    return record(
        {
            "type": {"type": "string", "enum": [kind]},
            "requestId": _ID,
            "status": {"type": "string", "enum": [status.value]},
            **more,
            "timestamp": member("integer", "When it was decided, in Unix seconds."),
        },
        additionalProperties=False,
        description="Exactly these members (docs/reference/wire.md, 5.2).",
    )


APPROVAL_SIGNAL = component("ApprovalSignal", _signal("approval", Status.APPROVED))
REJECTION_SIGNAL = component(
    "RejectionSignal", _signal("rejection", Status.REJECTED, reason=_REASON)
)
SIGNAL = component(
    "Signal",
    {
        "oneOf": [APPROVAL_SIGNAL, REJECTION_SIGNAL],
        "discriminator": {
            "propertyName": "type",
            "mapping": {
                "approval": APPROVAL_SIGNAL["$ref"],
                "rejection": REJECTION_SIGNAL["$ref"],
            },
        },
        "description": "What an agent on Redis hears of a decision. There is no third shape.",
    },
)


def json_text(shape: Schema) -> Schema:
    """Return the schema of a string that holds `shape` as JSON text.

    OpenAPI 3.0 cannot say what a string holds; `x-content-schema` says it to those who read it.
    """
    name = shape["$ref"].rpartition("/")[2]
    return {
        "type": "string",
        "description": f"The JSON **text** of `{name}`: parse it once more.",
        "x-content-media-type": "application/json",
        "x-content-schema": shape,
    }


_OPENED_AT = datetime(2026, 1, 16, 12, tzinfo=UTC)
_CONTEXT: dict[str, Any] = {"targets": ["mail-17", "mail-18", "mail-19"], "count": 3}


VOTED: dict[str, Any] = {
    "minApprovals": 2,
    "votes": [{"userId": "approver1", "votedAt": int(_OPENED_AT.timestamp() * 1000) + 60_000}],
}


def request_example(status: Status = Status.PENDING, *, reason: str = "") -> ApprovalRequest:
    """Return the request of every example, never saved, as it is in `status`."""
    return ApprovalRequest(
        request_id="req_5f0c1e0a7d3b4c5e9a8b7c6d5e4f3a2b",
        session_id="session_0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a",
        tenant_id=TENANT,
        user_id="user123",
        origin=Origin.AGENT,
        action_type="delete_mail",
        message="May I delete 3 mails?",
        context_text=compact(_CONTEXT),
        context_digest=digest(_CONTEXT),
        status=status,
        created_at=_OPENED_AT,
        expires_at=_OPENED_AT + timedelta(seconds=300),
        decided_at=None if status is Status.PENDING else _OPENED_AT + timedelta(seconds=60),
        decided_by="" if status is Status.PENDING else "approver1",
        reason=reason,
    )
