"""Describes approve, reject and cancel in OpenAPI (docs/reference/wire.md, 3.1, 3.2 and 3.5)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_view

from dwp_project.gateway.errors import BodyTooLarge, ErrorCode, ValidationFailed
from dwp_project.gateway.openapi import (
    ERROR_ENVELOPE,
    IDENTIFIED,
    RECORDED,
    STORED,
    answer,
    body,
    enveloped,
    error_example,
    example,
    header,
    operation,
)
from dwp_project.gateway.roles import Role
from hitl import errors
from hitl.api.serializers import ApprovalBody, DecisionBody, RejectionBody, StrictBody
from hitl.api.shapes import DECISION, PARTIAL_APPROVAL, VOTED, WITHDRAWAL, request_example
from hitl.delivery import wire
from hitl.states import Status


class StrictBodySchema(OpenApiSerializerExtension):
    """Describes every `StrictBody` as an object without other members."""

    target_class = StrictBody
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        """Return the schema of the body."""
        described = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return described | {"additionalProperties": False}


REQUEST_ID = OpenApiParameter(
    "request_id",
    {"type": "string", "example": request_example().request_id},
    OpenApiParameter.PATH,
    description="The `requestId` of the `hitl` event, or of the request you opened; "
    "percent-encoded.",
)
_IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "Optional: the same key and payload sent again get the first answer again (200); the same "
    "key with another payload is refused (422).",
)
_ASKED_FOR = (
    " A policy of the tenant can want more (docs/reference/wire.md, 3.6): a certain role, "
    "somebody else than the requester, several people."
)
_DECIDED_BY = (
    "The requester, or anybody whose token's `role` is `approver` or `admin`, may decide; "
    "nobody in another's name: a `userId` in the body must be your own. An empty body will do."
)
_STANDS = (
    "**Somebody decided before, and a 409 is no error here:** the envelope says `SUCCESS` and "
    "`data` holds the decision that stands. Nothing was changed, recorded or signalled again."
)


def _decision(name: str, message: str, status: Status, reason: str = "") -> OpenApiExample:
    return example(name, message, wire.decision(request_example(status, reason=reason)))


_REASON = "Not before the audit"
_APPROVED = _decision("approved", "Request approved successfully", Status.APPROVED)
_REJECTED = _decision("rejected", "Request rejected", Status.REJECTED, _REASON)
_DEFAULT_REJECTED = _decision(
    "rejected without a reason", "Request rejected", Status.REJECTED, "User rejected"
)
_STANDING_EXAMPLES = [
    _decision("approved before", "Request was already processed (idempotent)", Status.APPROVED),
    _decision(
        "rejected before",
        "Request was already processed (idempotent)",
        Status.REJECTED,
        _REASON,
    ),
]
_STANDING = answer(_STANDS, enveloped(DECISION), _STANDING_EXAMPLES)
_STANDING_OR_OTHER = answer(
    f"{_STANDS}\n\nWith a `contextDigest` that is not the stored one, `E3006`: nothing is decided.",
    {"anyOf": [enveloped(DECISION), ERROR_ENVELOPE]},
    [*_STANDING_EXAMPLES, error_example("E3006 digest differs", errors.DigestDiffers())],
)
_RAISED: list[Any] = [
    *IDENTIFIED,
    ValidationFailed("userId: Not a valid string."),
    BodyTooLarge(),
    errors.RequestNotFound(),
    errors.MayNotDecide(),
    errors.RequestExpired(),
    errors.RequestCancelled(),
    errors.RequestChanged(),
    *STORED,
]

_WANTED = [errors.RoleRequired(Role.APPROVER.value), errors.RoleRequired(Role.ADMIN.value)]
_PARTIAL = {**wire.decision(request_example()), **VOTED}

approve = extend_schema_view(
    post=operation(
        "Approvals",
        "Approve a request",
        "Says yes: the agent that waits goes on. Of any number of decisions at the same time "
        f"exactly one gets 200. {_DECIDED_BY}{_ASKED_FOR}",
        operation_id="approve_request",
        parameters=[REQUEST_ID, *RECORDED, _IDEMPOTENCY_KEY],
        request=body(
            ApprovalBody,
            {
                "in my name": {"userId": "user123"},
                "with a comment": {"userId": "user123", "comment": "Only these three"},
                "what I was shown": {
                    "requestDigest": wire.document(request_example())["requestDigest"]
                },
                "nothing": {},
            },
        ),
        answers={
            200: answer("Approved, by you and just now.", enveloped(DECISION), [_APPROVED]),
            202: answer(
                "Your yes is recorded; the tenant's policy wants more people to agree. Sent "
                "again by the same person, it changes nothing.",
                enveloped(PARTIAL_APPROVAL),
                [example("one of two", "Approval recorded, more are needed", _PARTIAL)],
            ),
            409: _STANDING_OR_OTHER,
        },
        raised=[*_RAISED, *_WANTED, errors.RequesterMayNotApprove(), ErrorCode.KEY_REUSED],
    )
)

reject = extend_schema_view(
    post=operation(
        "Approvals",
        "Reject a request",
        "Says no: the agent that waits stops, and its stream ends with an `error` event whose "
        f"`error` is the reason. One no is enough. {_DECIDED_BY}{_ASKED_FOR}",
        operation_id="reject_request",
        parameters=[REQUEST_ID, *RECORDED, _IDEMPOTENCY_KEY],
        request=body(
            RejectionBody,
            {"with a reason": {"userId": "user123", "reason": _REASON}, "nothing": {}},
        ),
        answers={
            200: answer(
                "Rejected, by you and just now.",
                enveloped(DECISION),
                [_REJECTED, _DEFAULT_REJECTED],
            ),
            409: _STANDING_OR_OTHER,
        },
        raised=[*_RAISED, *_WANTED, errors.ReasonRequired(), ErrorCode.KEY_REUSED],
    )
)

cancel = extend_schema_view(
    post=operation(
        "Approvals",
        "Withdraw a request",
        "Takes the question back before anybody has answered it. Agents on Redis hear nothing "
        f"of it; a stream ends with an `error` event of type `CancelledError`. {_DECIDED_BY}",
        operation_id="cancel_request",
        parameters=[REQUEST_ID, *RECORDED],
        request=body(DecisionBody, {"nothing": {}}),
        answers={
            200: answer(
                "Withdrawn.",
                enveloped(WITHDRAWAL),
                [_decision("withdrawn", "Request cancelled", Status.CANCELLED)],
            ),
            409: _STANDING,
        },
        raised=_RAISED,
    )
)
