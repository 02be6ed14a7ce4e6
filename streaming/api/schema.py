"""How the stream and its sessions describe themselves (docs/reference/wire.md, 4)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_view

from dwp_project.gateway.errors import BodyTooLarge, UserMismatch, ValidationFailed
from dwp_project.gateway.openapi import (
    AGENT_ID,
    IDENTIFIED,
    RECORDED,
    STORED,
    answer,
    answered,
    body,
    component,
    enveloped,
    example,
    header,
    operation,
    record,
)
from dwp_project.sse.frames import HEADERS
from hitl import errors
from streaming.api.payloads import STREAM
from streaming.api.transcripts import FOREIGN_USER, SESSION_ID, TRANSCRIPTS, event_id
from streaming.models import SessionStatus
from streaming.serializers import MessageQuery, PromptBody

_EVENT_STREAM = (200, "text/event-stream")
_STREAM_HEADERS = [
    answered(name, "As event streams need it.", [200], value)
    for name, value in HEADERS
    if name != "Content-Type"
]
_SESSION_PARAMETER = OpenApiParameter(
    "session_id",
    {"type": "string", "example": SESSION_ID},
    OpenApiParameter.PATH,
    description="The `sessionId` of the stream's events.",
)
_LAST_EVENT_ID = header(
    "Last-Event-ID",
    f"Optional: the `id` of the last event you have, such as `{event_id(4)}`. You get every event "
    "after it exactly once, then live ones. An id that leads nowhere is no error.",
)
_LAST_EVENT_ID_QUERY = OpenApiParameter(
    "lastEventId",
    {"type": "string"},
    description="Optional: the same for clients that cannot send the header, which comes first.",
)
_COMMENTS = (
    "A comment comes at least every 15 seconds. Every way the work ends sends `data: [DONE]` "
    "exactly once, last. A connection that breaks without it has lost nothing: the work goes on, "
    "and the same request with `Last-Event-ID` comes back to it."
)
_NAMES = "`/aura/test/stream` and `/agent/chat-stream` are two names of one thing."
_WAYS = (
    "`start … content end` when there is nothing to ask. A question is a `hitl` event, and then "
    "silence but for comments until it is answered: approved `… tool_execution … content end`; "
    "rejected `… error`; not answered in time `… failed error end`; cancelled `… error end`."
)


def _streams(*names: str, foreign_user: bool = False) -> list[OpenApiExample]:
    chosen = [OpenApiExample(name, text) for name, text in TRANSCRIPTS.items() if name in names]
    refused = OpenApiExample("a foreign X-User-ID", FOREIGN_USER)
    return [*chosen, refused] if foreign_user else chosen


_start: dict[str, Any] = {
    "answers": {
        _EVENT_STREAM: answer(
            f"The stream. {_WAYS} An `X-User-ID` that is not yours gets one `error` event, and no "
            "session is made.",
            STREAM,
            _streams(*TRANSCRIPTS, foreign_user=True),
        )
    },
}
# A foreign X-User-ID gets an error event in the stream instead (wire.md, 4.6).
_IDENTIFIED = [failure for failure in IDENTIFIED if not isinstance(failure, UserMismatch)]

start = extend_schema_view(
    get=operation(
        "Stream",
        "Start a session and stream it",
        f"Gives the prompt to the agent and sends its work as server-sent events. {_COMMENTS} "
        f"`POST` takes longer prompts, and context. {_NAMES}",
        parameters=[
            MessageQuery,
            _LAST_EVENT_ID,
            _LAST_EVENT_ID_QUERY,
            AGENT_ID,
            *RECORDED,
            *_STREAM_HEADERS,
        ],
        raised=[*_IDENTIFIED, ValidationFailed("message: This field is required."), *STORED],
        **_start,
    ),
    post=operation(
        "Stream",
        "Start a session and stream it",
        f"Gives the prompt to the agent and sends its work as server-sent events. {_COMMENTS} "
        "Coming back, send the same prompt; `context` and `thread_id` are not compared. "
        f"{_NAMES}",
        parameters=[_LAST_EVENT_ID, _LAST_EVENT_ID_QUERY, AGENT_ID, *RECORDED, *_STREAM_HEADERS],
        request=body(
            PromptBody,
            {
                "something to ask about": {"prompt": "delete 3 mails"},
                "nothing to ask about": {"prompt": "summarize my inbox"},
                "with context": {
                    "prompt": "delete 3 mails",
                    "context": {"page": "inbox", "selected": ["mail-17", "mail-18", "mail-19"]},
                    "thread_id": "thread-42",
                },
            },
        ),
        raised=[
            *_IDENTIFIED,
            ValidationFailed("prompt: This field may not be blank."),
            BodyTooLarge(),
            *STORED,
        ],
        **_start,
    ),
)

attach = extend_schema_view(
    get=operation(
        "Sessions",
        "Stream a session",
        "Sends the events of a session of your own: all of them, or those after `Last-Event-ID`, "
        f"then live ones. A finished session is replayed to its `[DONE]`. {_COMMENTS}",
        operation_id="attach_to_session",
        parameters=[_SESSION_PARAMETER, _LAST_EVENT_ID, _LAST_EVENT_ID_QUERY, *_STREAM_HEADERS],
        answers={
            _EVENT_STREAM: answer(
                "The session's stream.",
                STREAM,
                _streams("approved", "reconnected after the question", "reconnected too late"),
            )
        },
        raised=[*IDENTIFIED, errors.SessionNotFound(), *STORED],
    )
)

_CANCELLED = component(
    "SessionCancellation",
    record(
        {
            "sessionId": {"type": "string"},
            "status": {
                "type": "string",
                "enum": [status for status in SessionStatus.values if status != "running"],
            },
        }
    ),
)
cancel = extend_schema_view(
    post=operation(
        "Sessions",
        "Stop a session",
        "Stops the agent and withdraws the question it may have asked. Its stream ends with an "
        "`error` event of type `CancelledError`. Who started the session may, and anybody whose "
        "token's `role` is `approver` or `admin`.",
        operation_id="cancel_session",
        parameters=[_SESSION_PARAMETER, *RECORDED],
        answers={
            200: answer(
                "It is stopped, or had ended before; `status` says how.",
                enveloped(_CANCELLED),
                [
                    example(
                        "stopped",
                        "Session cancelled",
                        {"sessionId": SESSION_ID, "status": "cancelled"},
                    ),
                    example(
                        "ended before",
                        "Session had already ended",
                        {"sessionId": SESSION_ID, "status": "completed"},
                    ),
                ],
            )
        },
        raised=[*IDENTIFIED, errors.SessionNotFound(), errors.MayNotDecide(), *STORED],
    )
)
