"""The types of events, their payloads and their ids (docs/reference/wire.md, 4.3 to 4.5).

Deployed clients read a payload differently: some its top level, some `data`, one of them other
names. So every payload carries each field in all of these places.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dwp_project.jsontext import compact, loads

VERSION = "1.0"
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventType:
    """One row of the table in wire.md 4.4.

    `fields` are sent in this order, `optional` ones may be missing, `twins` are sent again
    under another name. `workspace` is the `event` member that the workspace page reads,
    `additions` are the members that it reads in `data` besides.
    """

    fields: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    twins: Mapping[str, str] = field(default_factory=dict)
    workspace: str | None = None
    additions: Callable[[Fields], dict[str, Any]] = lambda fields: {}


_TOOL_STATUS = {
    "pending": "executing",
    "running": "executing",
    "success": "completed",
    "failed": "failed",
    "cancelled": "failed",
}

TYPES: dict[str, EventType] = {
    "start": EventType(("message",)),
    "thought": EventType(
        ("thoughtType", "content", "sources"),
        workspace="thought_chain",
        additions=lambda fields: {"type": fields["thoughtType"]},
    ),
    "plan_step": EventType(
        ("stepId", "title", "description", "status", "confidence", "order"),
        additions=lambda fields: {"id": fields["stepId"]},
    ),
    "plan_step_update": EventType(
        ("stepId", "status", "progress"),
        additions=lambda fields: {"id": fields["stepId"]},
    ),
    "timeline_step_update": EventType(
        ("stepId", "title", "status", "progress"),
        additions=lambda fields: {"id": fields["stepId"]},
    ),
    "tool_execution": EventType(
        ("toolName", "toolArgs", "status", "result", "error", "requiresApproval"),
        twins={"toolName": "tool", "toolArgs": "params"},
        workspace="action_execution",
        additions=lambda fields: {"status": _TOOL_STATUS[fields["status"]]},
    ),
    "hitl": EventType(
        (
            "requestId",
            "sessionId",
            "actionType",
            "message",
            "context",
            "requiresApproval",
            "expiresAt",
            "confidence",
            "stepId",
        ),
        optional=frozenset({"confidence", "stepId"}),
        twins={"context": "params"},
        workspace="hitl_request",
        additions=lambda fields: {"id": fields["requestId"], "action": fields["actionType"]},
    ),
    "content": EventType(("content", "chunk", "metadata"), optional=frozenset({"metadata"})),
    "error": EventType(("error", "errorType", "message")),
    "failed": EventType(("message", "error", "errorType", "requestId", "sessionId")),
    "end": EventType(("message", "status")),
    "stream_reset": EventType(("reason",)),
}


def payload(name: str, fields: Fields, *, session_id: str, timestamp: int) -> str:
    """Return the `data:` line's JSON of one event; `timestamp` in Unix seconds.

    Raises `ValueError` for an unknown event, an unknown field or a missing one.
    """
    row = TYPES.get(name)
    if row is None:
        raise ValueError(f"there is no event {name!r}; wire.md 4.4 lists them")
    if unknown := set(fields) - set(row.fields):
        raise ValueError(f"event {name!r} has no field {', '.join(sorted(unknown))}")
    if missing := set(row.fields) - row.optional - set(fields):
        raise ValueError(f"event {name!r} lacks {', '.join(sorted(missing))}")
    sent: dict[str, Any] = {}
    for member in row.fields:
        if member not in fields:
            continue
        sent[member] = fields[member]
        if twin := row.twins.get(member):
            sent[twin] = fields[member]
    top: dict[str, Any] = {
        "type": name,
        "version": VERSION,
        "timestamp": timestamp,
        "sessionId": session_id,
    }
    if row.workspace:
        top["event"] = row.workspace
    return compact({**top, **sent, "data": {**sent, **row.additions(fields)}})


def is_payload_of(text: str, name: str, fields: Fields) -> bool:
    """Say whether `text` is the payload of this event, at any time of sending."""
    # Not `jsontext.parse`: our own payloads nest deeper than clients' JSON may.
    members = loads(text)
    expected = payload(
        name, fields, session_id=members["sessionId"], timestamp=members["timestamp"]
    )
    return expected == text


def fields_of(name: str, text: str) -> dict[str, Any]:
    """Return the fields that the payload `text` of an event was built from."""
    members = loads(text)
    return {field: members[field] for field in TYPES[name].fields if field in members}


def new_key() -> int:
    """Return a random session key, in [2^32, 2^33). Unique is what the database keeps unique."""
    return random.SystemRandom().randrange(FIRST_KEY, 2 * FIRST_KEY)


def event_id(session_key: int, sequence: int) -> int:
    """Return the SSE id of an event: rises within a session, contains its key, fits in 2^53."""
    return (session_key << SEQUENCE_BITS) | sequence


def cursor_of(text: str | None) -> tuple[int, int] | None:
    """Return the session's key and the sequence in a `Last-Event-ID`, or None."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 16:
        return None
    value = int(text)
    session_key, sequence = value >> SEQUENCE_BITS, value & MAX_SEQUENCE
    return (session_key, sequence) if session_key and value < 2**53 else None


# The smallest session key that is drawn. Below are the primary keys of sessions that have none.
FIRST_KEY = 2**32
# A million events for each session, in an id below 2^53 (docs/adr/0041).
SEQUENCE_BITS = 20
MAX_SEQUENCE = 2**SEQUENCE_BITS - 1
