"""Describes the approvals API in OpenAPI (docs/reference/wire.md, 3)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_view

from dwp_project.gateway.errors import BodyTooLarge, InvalidValue, ValidationFailed
from dwp_project.gateway.openapi import (
    AGENT_ID,
    IDENTIFIED,
    RECORDED,
    STORED,
    answer,
    body,
    enveloped,
    example,
    operation,
)
from dwp_project.jsontext import compact
from hitl import errors
from hitl.api.decision_schema import REQUEST_ID, approve, cancel, reject
from hitl.api.serializers import ListQuery, OpeningBody
from hitl.api.shapes import (
    APPROVAL_REQUEST,
    REQUEST_PAGE,
    SIGNAL,
    json_text,
    request_example,
)
from hitl.api.wait import DEFAULT_SECONDS, MOST_SECONDS
from hitl.delivery import wire
from hitl.states import Status

__all__ = ["approve", "cancel", "reject", "request", "requests", "signal", "wait"]

_PENDING = request_example()
_APPROVED = request_example(Status.APPROVED)
_REJECTED = request_example(Status.REJECTED, reason="Not before the audit")


def _document(name: str, message: str, request: Any) -> OpenApiExample:
    return example(name, message, wire.document(request))


def _document_text(name: str, request: Any) -> OpenApiExample:
    return example(name, "Approval request retrieved", compact(wire.document(request)))


_list = operation(
    "Approvals",
    "List requests",
    "The tenant's requests, newest first, 50 at a time. A `sessionId` that no session can have "
    "finds nothing.",
    operation_id="list_requests",
    parameters=[ListQuery],
    answers={
        200: answer(
            "One page.",
            enveloped(REQUEST_PAGE),
            [
                example(
                    "more to come",
                    "Approval requests retrieved",
                    {
                        "items": [wire.document(_PENDING)],
                        "nextCursor": "wGk0cUq7Zb3mS1tXo9fLhR2yVdNe8aJpK5iTuC4gB6E",
                    },
                ),
                example("nothing found", "Approval requests retrieved", {"items": []}),
            ],
        )
    },
    raised=[
        *IDENTIFIED,
        InvalidValue("status is one of: pending, approved, rejected, expired, cancelled."),
        *STORED,
    ],
)
_open = operation(
    "Approvals",
    "Open a request",
    "For an agent without a stream: asks the question and returns at once; "
    "`GET /aura/hitl/requests/{requestId}/wait` waits for the answer. A session belongs to whoever "
    "used it first; in somebody else's it is as if it did not exist (404). Send your own "
    "`requestId` to be able to repeat the call safely.",
    operation_id="open_request",
    parameters=[*RECORDED, AGENT_ID],
    request=body(
        OpeningBody,
        {
            "the least": {"sessionId": _PENDING.session_id, "actionType": "delete_mail"},
            "everything": {
                "requestId": _PENDING.request_id,
                "sessionId": _PENDING.session_id,
                "actionType": _PENDING.action_type,
                "message": _PENDING.message,
                "context": _PENDING.context,
                "timeoutSeconds": 300,
            },
        },
    ),
    answers={
        200: answer(
            "The same request was opened before: here it is, as it stands.",
            enveloped(APPROVAL_REQUEST),
            [_document("opened before", "Approval request already opened", _APPROVED)],
        ),
        201: answer(
            "Opened.",
            enveloped(APPROVAL_REQUEST),
            [_document("opened", "Approval request opened", _PENDING)],
        ),
    },
    raised=[
        *IDENTIFIED,
        ValidationFailed("sessionId: This field is required."),
        BodyTooLarge(),
        errors.SessionNotFound(),
        errors.RequestIdTaken(),
        errors.RequestChanged(),
        *STORED,
    ],
)
requests = extend_schema_view(get=_list, post=_open)

request = extend_schema_view(
    get=operation(
        "Approvals",
        "Read a request",
        "The request as it stands. **`data` is a JSON string, not an object**: deployed clients "
        "`JSON.parse` it.",
        operation_id="get_request",
        parameters=[REQUEST_ID],
        answers={
            200: answer(
                "The request, as JSON text.",
                enveloped(json_text(APPROVAL_REQUEST)),
                [
                    _document_text("pending", _PENDING),
                    _document_text("approved", _APPROVED),
                    _document_text("rejected", _REJECTED),
                    _document_text("expired", request_example(Status.EXPIRED)),
                    _document_text("cancelled", request_example(Status.CANCELLED)),
                ],
            )
        },
        raised=[
            *IDENTIFIED,
            errors.RequestNotFound(),
            errors.RequestChanged(),
            *STORED,
        ],
    )
)

signal = extend_schema_view(
    get=operation(
        "Approvals",
        "Read a session's signal",
        "What agents on Redis hear of the newest decision in the session, for five minutes. "
        "Without one, or in another tenant's session, there is no `data`. **`data` is a JSON "
        "string, not an object.**",
        operation_id="get_signal",
        parameters=[
            OpenApiParameter(
                "session_id",
                {"type": "string", "example": _PENDING.session_id},
                OpenApiParameter.PATH,
                description="The session whose agent waits.",
            )
        ],
        answers={
            200: answer(
                "The signal as JSON text, or no `data`.",
                {"anyOf": [enveloped(json_text(SIGNAL)), enveloped()]},
                [
                    example("approved", "Signal retrieved", compact(wire.signal(_APPROVED))),
                    example("rejected", "Signal retrieved", compact(wire.signal(_REJECTED))),
                    example("none", "No signal found for session"),
                ],
            )
        },
        raised=[*IDENTIFIED, errors.SessionNotFound(), *STORED],
    )
)

wait = extend_schema_view(
    get=operation(
        "Approvals",
        "Wait for a decision",
        "Answers as soon as the request is decided, expired or withdrawn; after `timeout` seconds "
        "with the pending request and 202: ask again. `data` is an object here.",
        operation_id="wait_for_decision",
        parameters=[
            REQUEST_ID,
            OpenApiParameter(
                "timeout",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_SECONDS,
                    "default": DEFAULT_SECONDS,
                },
                description="Seconds to wait.",
            ),
        ],
        answers={
            200: answer(
                "The request has ended; `status` says how.",
                enveloped(APPROVAL_REQUEST),
                [
                    _document("approved", "Approval request ended", _APPROVED),
                    _document("rejected", "Approval request ended", _REJECTED),
                    _document("expired", "Approval request ended", request_example(Status.EXPIRED)),
                ],
            ),
            202: answer(
                "Nobody has decided yet.",
                enveloped(APPROVAL_REQUEST),
                [_document("pending", "Approval request pending", _PENDING)],
            ),
        },
        raised=[
            *IDENTIFIED,
            InvalidValue("timeout is a whole number of seconds from 1 to 60."),
            errors.RequestNotFound(),
            errors.RequestChanged(),
            *STORED,
        ],
    )
)
