"""The payload of every event, and its ids (docs/reference/wire.md, 4.3 to 4.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import events

SESSION, SECONDS = "session_1", 1706152860
SOURCES = [{"type": "file", "name": "a", "path": "/a"}]

# One row of each event of wire.md 4.4: what an agent gives.
GIVEN: dict[str, dict[str, Any]] = {
    "start": {"message": "go"},
    "thought": {"thoughtType": "analysis", "content": "흠", "sources": SOURCES},
    "plan_step": {
        "stepId": "s1",
        "title": "t",
        "description": "d",
        "status": "pending",
        "confidence": 0.5,
        "order": 1,
    },
    "plan_step_update": {"stepId": "s1", "status": "completed", "progress": 1},
    "timeline_step_update": {"stepId": "s1", "title": "t", "status": "failed", "progress": 0.5},
    "tool_execution": {
        "toolName": "delete_mail",
        "toolArgs": {"count": 3},
        "status": "success",
        "result": {"deleted": 3},
        "error": None,
        "requiresApproval": True,
    },
    "hitl": {
        "requestId": "req_1",
        "sessionId": SESSION,
        "actionType": "delete_mail",
        "message": "?",
        "context": {"count": 3},
        "requiresApproval": True,
        "expiresAt": 1706152860000,
        "confidence": 0.9,
        "stepId": "s1",
    },
    "content": {"content": "안녕", "chunk": True, "metadata": {"a": 1}},
    "error": {"error": "no", "errorType": "RejectionError", "message": "m"},
    "failed": {
        "message": "m",
        "error": "e",
        "errorType": "TimeoutError",
        "requestId": "req_1",
        "sessionId": SESSION,
    },
    "end": {"message": "m", "status": "completed"},
    "stream_reset": {"reason": "r"},
}
# What is sent a second time under another name, at the top and in `data`.
TWINS: dict[str, dict[str, str]] = {
    "tool_execution": {"toolName": "tool", "toolArgs": "params"},
    "hitl": {"context": "params"},
}
# What only `data` has, and the `event` member of the workspace page.
ADDED: dict[str, dict[str, Any]] = {
    "thought": {"type": "analysis"},
    "plan_step": {"id": "s1"},
    "plan_step_update": {"id": "s1"},
    "timeline_step_update": {"id": "s1"},
    "tool_execution": {"status": "completed"},
    "hitl": {"id": "req_1", "action": "delete_mail"},
}
WORKSPACE = {
    "thought": "thought_chain",
    "tool_execution": "action_execution",
    "hitl": "hitl_request",
}


def payload(name: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    text = events.payload(
        name, GIVEN[name] if fields is None else fields, session_id=SESSION, timestamp=SECONDS
    )
    members = json.loads(text)
    assert isinstance(members, dict)
    return members


every_event = pytest.mark.parametrize("name", GIVEN)


def test_events_are_those_of_the_table() -> None:
    assert events.TYPES.keys() == GIVEN.keys()


@every_event
def test_payload_carries_its_fields_at_the_top_and_under_data(name: str) -> None:
    fields = GIVEN[name]
    sent = fields | {twin: fields[field] for field, twin in TWINS.get(name, {}).items()}
    top = {"type": name, "version": "1.0", "timestamp": SECONDS, "sessionId": SESSION}
    if name in WORKSPACE:
        top["event"] = WORKSPACE[name]

    assert payload(name) == {**top, **sent, "data": {**sent, **ADDED.get(name, {})}}


@every_event
def test_payload_begins_with_what_every_event_has(name: str) -> None:
    assert list(payload(name))[:4] == ["type", "version", "timestamp", "sessionId"]
    assert list(payload(name))[-1] == "data"


@every_event
def test_payload_is_one_line(name: str) -> None:
    text = events.payload(name, GIVEN[name], session_id=SESSION, timestamp=SECONDS)

    assert "\n" not in text
    assert "\r" not in text


def test_only_thought_and_content_have_content_at_the_top() -> None:
    assert {name for name in GIVEN if "content" in payload(name)} == {"thought", "content"}


def test_only_three_events_have_an_event_member() -> None:
    assert {name for name in GIVEN if "event" in payload(name)} == WORKSPACE.keys()


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("pending", "executing"),
        ("running", "executing"),
        ("success", "completed"),
        ("failed", "failed"),
        ("cancelled", "failed"),
    ],
)
def test_tool_status_is_told_to_the_workspace_in_its_words(status: str, shown: str) -> None:
    members = payload("tool_execution", GIVEN["tool_execution"] | {"status": status})

    assert (members["status"], members["data"]["status"]) == (status, shown)


@every_event
def test_unknown_field_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="has no field mood"):
        payload(name, GIVEN[name] | {"mood": "good"})


OPTIONAL = {("hitl", "confidence"), ("hitl", "stepId"), ("content", "metadata")}


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in GIVEN for field in GIVEN[name]]
)
def test_missing_field_is_an_error_unless_optional(name: str, field: str) -> None:
    fields = {other: value for other, value in GIVEN[name].items() if other != field}
    if (name, field) in OPTIONAL:
        assert field not in payload(name, fields)
    else:
        with pytest.raises(ValueError, match=f"lacks {field}"):
            payload(name, fields)


def test_unknown_event_is_an_error() -> None:
    with pytest.raises(ValueError, match="no event 'applause'"):
        events.payload("applause", {}, session_id=SESSION, timestamp=SECONDS)


# --- event ids ----------------------------------------------------------------------------

sessions_ = st.integers(1, 2**33 - 1)
sequences = st.integers(0, events.MAX_SEQUENCE)


@given(sessions_, sequences)
def test_event_id_leads_back_and_fits(session_pk: int, sequence: int) -> None:
    event_id = events.event_id(session_pk, sequence)

    assert event_id < 2**53
    assert events.cursor_of(str(event_id)) == (session_pk, sequence)


@given(sessions_, sequences, sequences)
def test_event_ids_rise_with_the_sequence(session_pk: int, one: int, other: int) -> None:
    ids = events.event_id(session_pk, one), events.event_id(session_pk, other)

    assert (ids[0] < ids[1]) == (one < other)


@given(st.text())
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    cursor = events.cursor_of(text)

    assert cursor is None or events.event_id(*cursor) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "3",
        "0",
        "event_123",
        "-1",
        "-1048577",
        "+1048577",
        "1048577.0",
        "1e9",
        " 1048577",
        "1048577\n",
        "1_048_577",
        "٣" * 8,
        "²" * 8,
        str(2**53),
        str(2**63),
        "9" * 17,
        "9" * 300,
        "9" * 5000,
        "1048577,2",
        "\x00",
    ],
    ids=lambda text: f"{text!a:.14} {len(text or '')}",
)
def test_id_that_leads_nowhere_is_no_cursor(text: str | None) -> None:
    assert events.cursor_of(text) is None


def test_largest_id_that_fits_is_a_cursor() -> None:
    assert events.cursor_of(str(2**53 - 1)) == (2**33 - 1, 2**20 - 1)
