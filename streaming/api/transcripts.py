"""Whole streams for the API description, made by the code that makes the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dwp_project.sse import frames
from hitl.api.shapes import request_example
from hitl.delivery.wire import milliseconds
from streaming import events, replay

_REQUEST = request_example()
SESSION_ID = _REQUEST.session_id
_SESSION_KEY = 6_028_145_571
_STARTED_AT = int(_REQUEST.created_at.timestamp())

# The fields of one event of each type.
SAMPLES: dict[str, dict[str, Any]] = {
    "start": {"message": "Session started"},
    "thought": {
        "thoughtType": "analysis",
        "content": "Three mails are older than a year.",
        "sources": [{"type": "mailbox", "name": "Inbox", "path": "/inbox"}],
    },
    "plan_step": {
        "stepId": "step-1",
        "title": "Delete mails",
        "description": "Delete the three oldest mails.",
        "status": "pending",
        "confidence": 0.92,
        "order": 1,
    },
    "plan_step_update": {"stepId": "step-1", "status": "completed", "progress": 1.0},
    "timeline_step_update": {
        "stepId": "step-1",
        "title": "Delete mails",
        "status": "completed",
        "progress": 1.0,
    },
    "tool_execution": {
        "toolName": "delete_mail",
        "toolArgs": _REQUEST.context,
        "status": "success",
        "result": {"deleted": 3},
        "error": None,
        "requiresApproval": True,
    },
    "hitl": {
        "requestId": _REQUEST.request_id,
        "sessionId": SESSION_ID,
        "actionType": _REQUEST.action_type,
        "message": _REQUEST.message,
        "context": _REQUEST.context,
        "requiresApproval": True,
        "expiresAt": milliseconds(_REQUEST.expires_at),
        "confidence": 0.92,
        "stepId": "step-1",
    },
    "content": {"content": "I have deleted ", "chunk": True},
    "error": {
        "error": "Not before the audit",
        "errorType": "RejectionError",
        "message": "The request was rejected.",
    },
    "failed": {
        "message": "The request was not answered in time.",
        "error": "Nobody decided in time.",
        "errorType": "TimeoutError",
        "requestId": _REQUEST.request_id,
        "sessionId": SESSION_ID,
    },
    "end": {"message": "Session completed", "status": "completed"},
    "stream_reset": {"reason": replay.NO_LONGER_KEPT},
}

Step = tuple[str, Mapping[str, Any]]


def event_id(sequence: int) -> int:
    """Return the id of the example session's event with this sequence."""
    return events.event_id(_SESSION_KEY, sequence)


def _event(name: str, **fields: Any) -> Step:
    return name, {**SAMPLES[name], **fields}


def _transcript(steps: Iterable[Step], *, first: int = 1, wait_after: str = "") -> str:
    """Return the bytes of a stream as text, with comments after the event `wait_after`."""
    text = frames.CONNECTED
    for sequence, (name, fields) in enumerate(steps, start=first):
        payload = events.payload(
            name, fields, session_id=SESSION_ID, timestamp=_STARTED_AT + sequence
        )
        text += frames.event(event_id(sequence), name, payload)
        if name == wait_after:
            text += frames.HEARTBEAT * 2
    return (text + frames.DONE).decode()


def _foreign_user() -> str:
    fields = {
        "error": "X-User-ID differs from the token's user.",
        "errorType": "ValidationError",
        "message": "You may not do this.",
    }
    payload = events.payload("error", fields, session_id="", timestamp=_STARTED_AT)
    return (frames.CONNECTED + frames.event(0, "error", payload) + frames.DONE).decode()


_BEGINNING = [_event("start"), _event("thought"), _event("plan_step")]
_ASKING = [*_BEGINNING, _event("hitl")]
_ANSWER = [
    _event("content"),
    _event("content", content="three mails.", chunk=False),
    _event("end"),
]
_DOING = [
    _event("tool_execution", status="running", result=None),
    _event("tool_execution"),
    _event("plan_step_update"),
    _event("timeline_step_update"),
    *_ANSWER,
]
_LOST = {
    "message": "The session could not be carried on.",
    "error": "The process that ran this session ended, and its agent cannot resume. "
    "Send the prompt again.",
    "errorType": "SessionLost",
}
_FAILED_END = _event("end", message="Session failed", status="failed")

TRANSCRIPTS: dict[str, str] = {
    "nothing to ask": _transcript(
        [
            *_BEGINNING[:2],
            _event(
                "tool_execution",
                toolName="search_mail",
                toolArgs={"query": "older than a year"},
                result={"found": 3},
                requiresApproval=False,
            ),
            _event("content", content="There are "),
            _event("content", content="three of them.", chunk=False),
            _event("end"),
        ]
    ),
    "approved": _transcript([*_ASKING, *_DOING], wait_after="hitl"),
    "rejected": _transcript([*_ASKING, _event("error")], wait_after="hitl"),
    "not answered in time": _transcript(
        [
            *_ASKING,
            _event("failed"),
            _event(
                "error",
                error="Nobody decided in time.",
                errorType="TimeoutError",
                message="The request was not answered in time.",
            ),
            _FAILED_END,
        ],
        wait_after="hitl",
    ),
    "cancelled while waiting": _transcript(
        [
            *_ASKING,
            _event(
                "error",
                error="The request was cancelled.",
                errorType="CancelledError",
                message="The request was cancelled.",
            ),
            _event("end", message="Session cancelled", status="failed"),
        ],
        wait_after="hitl",
    ),
    "the agent failed": _transcript(
        [
            *_BEGINNING,
            _event(
                "error",
                error="The mail server refused the connection.",
                errorType="ConnectionRefusedError",
                message="The agent failed.",
            ),
            _FAILED_END,
        ]
    ),
    "its process ended, and the agent cannot resume": _transcript(
        [
            *_ASKING,
            _event("failed", **_LOST),
            _event("error", **{name: _LOST[name] for name in ("message", "error", "errorType")}),
            _FAILED_END,
        ],
        wait_after="hitl",
    ),
    "reconnected after the question": _transcript(_DOING, first=len(_ASKING) + 1),
    "reconnected too late": _transcript(
        [_event("stream_reset"), *_ANSWER], first=len(_ASKING) + len(_DOING) - len(_ANSWER)
    ),
}
# What the start of a stream answers to a foreign `X-User-ID` (wire.md, 4.6).
FOREIGN_USER = _foreign_user()
