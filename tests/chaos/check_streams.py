"""Streams: no gap, no repeat, one end, and what the session's requests and events say."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

from tests.chaos.history import Frame, History, Stream
from tests.chaos.outages import Part
from tests.chaos.stored import Stored, StoredRequest, StoredSession
from tests.chaos.verdict import Broken, Verdict

RESUMED, TAKEN_OVER = "built-in agents", "built-in agents, a server away"
# The number of an event in its session: the low bits of its id.
_SEQUENCE_BITS = 20
_ERROR_OF = {"rejected": "RejectionError", "expired": "TimeoutError", "cancelled": "CancelledError"}


def check(history: History, stored: Stored, verdict: Verdict) -> None:
    requests: dict[str, list[StoredRequest]] = defaultdict(list)
    for request in stored.requests.values():
        requests[request.session_id].append(request)
    for stream in history.streams:
        _check_stream(stream, stored, verdict)
    for session in stored.sessions.values():
        asked = sorted(requests[session.session_id], key=lambda r: r.number)
        _check_session(session, asked, verdict)
        for request in asked:
            _check_resumption(session, request, history, stored, verdict)


def _check_stream(stream: Stream, stored: Stored, verdict: Verdict) -> None:
    """The client saw every event of one session once, in order, then `[DONE]`."""
    verdict.counts["reconnects of streams"] += max(0, stream.connections - 1)
    frames = [frame for frame in stream.frames if frame.id is not None]
    name = f"{stream.user}'s stream"
    if not frames:
        verdict.violate(Broken.STREAM, f"{name} has no event")
        return
    first = frames[0].id or 0
    number = first >> _SEQUENCE_BITS
    expected = (number << _SEQUENCE_BITS) + 1
    for frame in frames:
        assert frame.id is not None
        if frame.id >> _SEQUENCE_BITS != number:
            was = f"session {number}, then {frame.id >> _SEQUENCE_BITS}"
            verdict.violate(Broken.STREAM, f"{name} lost its session: {was}")
            return
        if frame.id != expected:
            broken = Broken.REPEAT if frame.id < expected else Broken.GAP
            at = f"{frame.id & (2**_SEQUENCE_BITS - 1)} instead of {expected - (number << 20)}"
            verdict.violate(broken, f"{name} of session {number}: event {at}")
            return
        expected += 1
    _check_end(stream, f"{name} of session {number}", verdict)
    session = stored.sessions.get(number)
    if session is None:
        verdict.violate(Broken.STREAM, f"{name}: there is no session {number}")
    elif stream.ended:
        _check_same(frames, session, name, verdict)


def _check_end(stream: Stream, name: str, verdict: Verdict) -> None:
    done = [n for n, frame in enumerate(stream.frames) if frame.id is None]
    if stream.ended is None:
        verdict.violate(Broken.STREAM, f"{name} never ended, {len(stream.frames)} frames")
    elif len(done) > 1:
        verdict.violate(Broken.REPEAT, f"{name}: {len(done)} times [DONE]")
    elif done != [len(stream.frames) - 1] or stream.frames[-1].data != "[DONE]":
        verdict.violate(Broken.STREAM, f"{name} ended cleanly without [DONE] as its last frame")
    else:
        verdict.counts["streams seen to their end"] += 1


def _check_same(frames: list[Frame], session: StoredSession, name: str, verdict: Verdict) -> None:
    """The client's events are the database's, to the byte."""
    stored_events = [(event.name, event.payload) for event in session.events]
    seen = [(frame.event, frame.data) for frame in frames]
    if len(stored_events) > len(seen):
        missing = f"{len(seen)} of {len(stored_events)} events before [DONE]"
        verdict.violate(Broken.GAP, f"{name} of {session.session_id}: {missing}")
    elif seen != stored_events:
        verdict.violate(Broken.STREAM, f"{name} differs from the events of {session.session_id}")


def _check_session(session: StoredSession, asked: list[StoredRequest], verdict: Verdict) -> None:
    """A session's events tell what became of its requests, each once."""
    name = session.session_id
    verdict.counts[f"sessions {session.status}"] += 1
    if [event.sequence for event in session.events] != list(range(1, len(session.events) + 1)):
        verdict.violate(Broken.GAP, f"the events of {name} are not numbered 1, 2, 3 …")
    if session.status == "running":
        verdict.violate(Broken.STREAM, f"{name} still runs, {len(session.events)} events")
        return
    payloads = [(event.name, json.loads(event.payload)) for event in session.events]
    question_ids = [payload["requestId"] for kind, payload in payloads if kind == "hitl"]
    if question_ids != [request.request_id for request in asked]:
        verdict.violate(
            Broken.DISAGREE, f"{name} shows the questions {question_ids}, not its requests"
        )
    steps = Counter(payload.get("stepId") for kind, payload in payloads if kind == "hitl")
    if any(times > 1 for times in steps.values()):
        verdict.violate(Broken.DOUBLED, f"{name} asked twice about {dict(steps)}")
    _check_deeds(name, payloads, asked, verdict)
    _check_ending(session, payloads, asked, verdict)


def _check_deeds(
    name: str, payloads: list[tuple[str, Any]], asked: list[StoredRequest], verdict: Verdict
) -> None:
    done = [p for kind, p in payloads if kind == "tool_execution" and p["status"] == "success"]
    again = [tool for tool, n in Counter(p["toolName"] for p in done).items() if n > 1]
    if again:
        verdict.violate(Broken.DOUBLED, f"{name} executed {again} more than once")
    approved = sum(request.status == "approved" for request in asked)
    if sum(bool(p["requiresApproval"]) for p in done) > approved:
        verdict.violate(Broken.DISAGREE, f"{name} acted without a yes")


def _check_ending(
    session: StoredSession,
    payloads: list[tuple[str, Any]],
    asked: list[StoredRequest],
    verdict: Verdict,
) -> None:
    errors = {payload["errorType"] for kind, payload in payloads if kind == "error"}
    wanted = {_ERROR_OF[request.status] for request in asked if request.status in _ERROR_OF}
    if session.status == "cancelled":
        wanted = {"CancelledError"}  # whatever became of its questions before
    ends = {payload["status"] for kind, payload in payloads if kind == "end"}
    # A rejection ends without `end`, all else with one.
    expected = {"completed"} if not wanted else set() if "RejectionError" in wanted else {"failed"}
    if errors != wanted or ends != expected:
        statuses = [request.status for request in asked]
        said = f"{session.session_id} ({session.status}): errors {errors}, ends {ends}"
        verdict.violate(Broken.DISAGREE, f"{said}, its requests are {statuses}")


def _check_resumption(
    session: StoredSession,
    request: StoredRequest,
    history: History,
    stored: Stored,
    verdict: Verdict,
) -> None:
    """The agent's next event follows the end of its question in time."""
    asked = next((e for e in session.events if _shows(e.name, e.payload, request)), None)
    if asked is None or request.ended_at is None:
        return
    following = next((e for e in session.events if e.sequence == asked.sequence + 1), None)
    stop, limit = following.at if following else stored.read_at, verdict.limits.own
    start = request.ended_at
    # A process that died or was stopped shortly before may have held the session.
    around = history.outages.between(start - 30, stop, Part.SERVER, Part.STOPPED)
    kind = TAKEN_OVER if around or history.outages.between(start - 5, stop) else RESUMED
    if around:
        limit += verdict.limits.takeover
    if following:
        verdict.delays[kind].append(max(0.0, stop - start))
    if history.outages.longest_healthy(start, stop) > limit:
        late = f"{request.request_id}: its agent went on {stop - start:.1f} s after the end"
        verdict.violate(Broken.LATE, late if following else f"{late}, or never", start)


def _shows(name: str, payload: str, request: StoredRequest) -> bool:
    return name == "hitl" and json.loads(payload)["requestId"] == request.request_id
