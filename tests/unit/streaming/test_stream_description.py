"""What the OpenAPI document says of the stream: the events, and whole streams as examples."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from inflection import camelize

from streaming import final_events
from streaming.agents.base import AgentEvent, GateClosed, Rejected, TimedOut, Withdrawn
from streaming.api.transcripts import FOREIGN_USER, SAMPLES, SESSION_ID, TRANSCRIPTS
from streaming.events import TYPES, payload
from streaming.resume import SessionLost
from tests import described
from tests.described import EVENT_STREAM

FRAME = re.compile(r"id: (\d+)\nevent: (\w+)\ndata: (.+)\Z")
STREAMS = [
    (method, path)
    for path in ("/aura/test/stream", "/agent/chat-stream")
    for method in ("get", "post")
]
# What follows `start` and ends each stream, by the name of the example (wire.md, 4.4).
ENDINGS = {
    "nothing to ask": ["content", "content", "end"],
    "approved": ["hitl", "tool_execution", "tool_execution"],
    "rejected": ["hitl", "error"],
    "not answered in time": ["hitl", "failed", "error", "end"],
    "cancelled while waiting": ["hitl", "error", "end"],
    "the agent failed": ["error", "end"],
    "its process ended, and the agent cannot resume": ["hitl", "failed", "error", "end"],
    "reconnected after the question": ["content", "content", "end"],
    "reconnected too late": ["stream_reset", "content", "content", "end"],
}


def _frames(transcript: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Return id, name and payload of every event, between the first comment and `[DONE]`."""
    assert transcript.startswith(": connected\n\n")
    assert transcript.endswith("\n\ndata: [DONE]\n\n")
    frames = []
    for block in transcript.split("\n\n")[1:-2]:
        if not block.startswith(":"):
            match = FRAME.match(block)
            assert match, block
            frames.append((int(match[1]), match[2], json.loads(match[3])))
    return frames


def _has_in_order(names: list[str], wanted: list[str]) -> bool:
    rest = iter(names)
    return all(name in rest for name in wanted)


@pytest.mark.parametrize(("method", "path"), STREAMS)
def test_start_shows_every_way_a_stream_goes(method: str, path: str) -> None:
    shown = described.operation(method, path).examples(200, EVENT_STREAM)

    assert shown == [*TRANSCRIPTS.values(), FOREIGN_USER]


@pytest.mark.parametrize(("method", "path"), STREAMS)
def test_start_takes_the_headers_of_the_wire(method: str, path: str) -> None:
    parameters = described.operation(method, path).parameters

    assert set(parameters) >= {
        "X-Tenant-ID",
        "X-User-ID",
        "X-Agent-ID",
        "X-DWP-Source",
        "X-DWP-Caller-Type",
        "Last-Event-ID",
    }
    assert ("message" in parameters) is (method == "get")


@pytest.mark.parametrize("name", list(TRANSCRIPTS))
def test_transcript_goes_as_the_wire_says(name: str) -> None:
    transcript = TRANSCRIPTS[name]
    names = [event for _, event, _ in _frames(transcript)]
    ids = [number for number, _, _ in _frames(transcript)]

    assert transcript.count("[DONE]") == 1
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert _has_in_order(names, ENDINGS[name])
    if not name.startswith("reconnected"):
        assert names[0] == "start"
    if name in ("rejected", "cancelled while waiting", "not answered in time"):
        asked = names.index("hitl")
        assert names[asked:] == ENDINGS[name]


@pytest.mark.parametrize("name", list(TRANSCRIPTS))
def test_transcript_sends_payloads_as_their_schema_says(name: str) -> None:
    for _, event, sent in _frames(TRANSCRIPTS[name]):
        described.check(sent, described.component(f"{camelize(event)}Event"))
        described.check(sent, described.component("StreamEvent"))


def test_reconnecting_shows_what_the_first_connection_missed() -> None:
    before, after = TRANSCRIPTS["approved"], TRANSCRIPTS["reconnected after the question"]
    asked = [number for number, event, _ in _frames(before) if event == "hitl"]

    assert [frame for frame in _frames(before) if frame[0] > asked[0]] == _frames(after)


def test_foreign_user_gets_one_error_with_id_0() -> None:
    [(number, event, sent)] = _frames(FOREIGN_USER)

    assert (number, event, sent["errorType"]) == (0, "error", "ValidationError")


@pytest.mark.parametrize("name", list(TYPES))
def test_event_has_a_schema_of_exactly_what_is_sent(name: str) -> None:
    row = TYPES[name]
    fields = SAMPLES[name] | {field: SAMPLES[name].get(field) for field in row.optional}
    sent = json.loads(payload(name, fields, session_id=SESSION_ID, timestamp=1))

    schema = described.component(f"{camelize(name)}Event")

    assert set(schema["properties"]) == set(sent)
    assert set(schema["properties"]["data"]["properties"]) == set(sent["data"])
    assert set(schema["required"]) == set(sent) - row.optional
    assert schema["properties"]["type"]["enum"] == [name]
    assert schema["properties"].get("event", {}).get("enum") == (
        [row.workspace] if row.workspace else None
    )


def test_stream_event_is_one_of_the_table() -> None:
    schema = described.component("StreamEvent")

    assert list(schema["discriminator"]["mapping"]) == list(TYPES)
    assert len(schema["oneOf"]) == len(TYPES)


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("rejected", Rejected("Not before the audit")),
        (
            "not answered in time",
            TimedOut("Nobody decided in time.", request_id=SAMPLES["hitl"]["requestId"]),
        ),
        ("cancelled while waiting", Withdrawn("The request was cancelled.")),
    ],
)
def test_transcript_closes_as_the_runner_does(name: str, closed: GateClosed) -> None:
    expected, _ = final_events.stopped(SESSION_ID, closed)

    shown = _frames(TRANSCRIPTS[name])[-len(expected) :]

    assert [AgentEvent(event, _fields(event, sent)) for _, event, sent in shown] == list(expected)


def test_transcript_of_a_lost_session_closes_as_the_runner_does() -> None:
    lost = SessionLost("its agent cannot resume")
    expected, _ = final_events.lost(SESSION_ID, str(lost), SAMPLES["hitl"]["requestId"])

    shown = _frames(TRANSCRIPTS["its process ended, and the agent cannot resume"])[-3:]

    assert [AgentEvent(event, _fields(event, sent)) for _, event, sent in shown] == list(expected)


def _fields(event: str, sent: dict[str, Any]) -> dict[str, Any]:
    return {field: sent[field] for field in TYPES[event].fields if field in sent}
