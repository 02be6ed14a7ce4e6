"""The payload of every event in the API description, from the table that sends it."""

from __future__ import annotations

from typing import Any

from inflection import camelize

from dwp_project.gateway.openapi import Schema, component, list_of, member, record
from streaming import events
from streaming.api.transcripts import SAMPLES
from streaming.events import TYPES, EventType

_TEXT: Schema = {"type": "string"}
_ANY_OBJECT: Schema = {"type": "object", "additionalProperties": {}}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_SOURCE = component(
    "Source", record({"type": _TEXT, "name": _TEXT, "path": _TEXT}, optional=["path"])
)
_THOUGHT_TYPE = _one_of("analysis", "planning", "reasoning", "decision", "reflection")
_STEP_STATUS = _one_of("pending", "in_progress", "completed", "failed", "skipped")

# What each field means, and what it means in the events that use the same name differently.
_FIELDS: dict[str, Schema] = {
    "actionType": member(_TEXT, "What the agent wants to do."),
    "chunk": member("boolean", "False on the last piece, which may be empty."),
    "confidence": member(_SHARE, "How sure the agent is."),
    "content": _TEXT,
    "context": member(_ANY_OBJECT, "The particulars of the action."),
    "description": _TEXT,
    "error": member(_TEXT, "What went wrong; after a rejection, its reason."),
    "errorType": member(
        _TEXT,
        "`RejectionError`, `TimeoutError`, `CancelledError`, `SessionLost`, `ValidationError` "
        "or the agent's own.",
    ),
    "expiresAt": member("integer", "When the question expires, in Unix milliseconds."),
    "message": member(_TEXT, "The same for people."),
    "metadata": _ANY_OBJECT,
    "order": member("integer", "The step's place in the plan."),
    "progress": member(_SHARE, "How much of the step is done."),
    "reason": _TEXT,
    "requestId": member(_TEXT, "Approve or reject this."),
    "requiresApproval": {"type": "boolean"},
    "result": {"description": "What the tool gave back: any JSON value, null until it has."},
    "sessionId": _TEXT,
    "sources": list_of(_SOURCE),
    "status": _STEP_STATUS,
    "stepId": _TEXT,
    "thoughtType": _THOUGHT_TYPE,
    "title": _TEXT,
    "toolArgs": _ANY_OBJECT,
    "toolName": _TEXT,
}
_FIELDS_OF: dict[tuple[str, str], Schema] = {
    ("content", "content"): member(_TEXT, "The next piece, never the whole: append it."),
    ("end", "status"): _one_of("completed", "failed"),
    ("hitl", "requiresApproval"): {"type": "boolean", "enum": [True]},
    ("tool_execution", "error"): {"type": "string", "nullable": True},
    ("tool_execution", "status"): _one_of("pending", "running", "success", "failed", "cancelled"),
}
# Further members that the workspace page reads under `data`.
_ADDITIONS: dict[str, Schema] = {
    "action": member(_TEXT, "Same as `actionType`."),
    "id": member(_TEXT, "Same as `requestId` or `stepId`."),
    "status": _one_of("executing", "completed", "failed"),
    "type": _THOUGHT_TYPE,
}
_MEANINGS: dict[str, str] = {
    "start": "The session has begun.",
    "thought": "What the agent thinks.",
    "plan_step": "One step of the plan.",
    "plan_step_update": "A step of the plan has moved on.",
    "timeline_step_update": "A step of the timeline has moved on.",
    "tool_execution": "The agent uses a tool.",
    "hitl": "**The agent asks and waits.** Until somebody decides, only comments follow.",
    "content": "A piece of the answer.",
    "error": "The work ends without a result.",
    "failed": "Nobody answered the question in time, or the session could not be carried on.",
    "end": "The session is over; `[DONE]` follows.",
    "stream_reset": "The cursor is older than what is kept; what is kept follows.",
}


def _members(name: str, row: EventType) -> dict[str, Schema]:
    members: dict[str, Schema] = {}
    for field in row.fields:
        members[field] = _FIELDS_OF.get((name, field)) or _FIELDS[field]
        if twin := row.twins.get(field):
            members[twin] = member(members[field], f"Same as `{field}`.")
    return members


def _payload(name: str, row: EventType) -> Schema:
    members = _members(name, row)
    additions = {added: _ADDITIONS[added] for added in row.additions(SAMPLES[name])}
    top: dict[str, Any] = {
        "type": _one_of(name),
        "version": _one_of(events.VERSION),
        "timestamp": member("integer", "When it was sent, in Unix seconds."),
        "sessionId": _TEXT,
    }
    if row.workspace:
        top["event"] = _one_of(row.workspace)
    top |= members
    top["data"] = member(
        record({**members, **additions}, optional=row.optional), "The same fields once more."
    )
    return record(top, optional=row.optional, description=_MEANINGS[name])


# The reference to each event's payload.
PAYLOADS: dict[str, Schema] = {
    name: component(f"{camelize(name)}Event", _payload(name, row)) for name, row in TYPES.items()
}
STREAM_EVENT = component(
    "StreamEvent",
    {
        "oneOf": list(PAYLOADS.values()),
        "discriminator": {
            "propertyName": "type",
            "mapping": {name: payload["$ref"] for name, payload in PAYLOADS.items()},
        },
        "description": "The `data:` line of one event. Every field stands twice: at the top "
        "level and under `data`, because clients read one or the other "
        "(docs/reference/wire.md, 4.4).",
    },
)
STREAM: Schema = {
    "type": "string",
    "description": "Frames of `id:`, `event:` and one `data:` line with a `StreamEvent`; lines "
    "that begin with a colon are comments. The last frame is `data: [DONE]`.",
    "x-event-schema": STREAM_EVENT,
}
