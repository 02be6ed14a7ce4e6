"""Made-up runs of the chaos harness: one good day, to be spoilt by each test in its own way."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.chaos.history import (
    Attempt,
    Fate,
    Frame,
    History,
    Listening,
    Origin,
    Question,
    Stream,
    Subscription,
    Wait,
)
from tests.chaos.outages import Outages, Part
from tests.chaos.run import Options, judge
from tests.chaos.stored import (
    OutboxRow,
    Record,
    Stored,
    StoredEvent,
    StoredRequest,
    StoredSession,
)
from tests.chaos.verdict import Broken, Limits, Verdict

SESSION_NUMBER = 7
END = 1000.0


def signal(request_id: str, status: str = "approved", **more: object) -> str:
    kind = "approval" if status == "approved" else "rejection"
    reason = {} if status == "approved" else {"reason": "no"}
    members = {"type": kind, "requestId": request_id, "status": status, **reason, "timestamp": 100}
    return json.dumps(members | more)


@dataclass
class Day:
    """One run: an agent on Redis, one over REST and a user, each with one approved request."""

    history: History
    stored: Stored

    @property
    def outages(self) -> Outages:
        return self.history.outages

    @property
    def listening(self) -> Listening:
        return self.history.listenings[0]

    @property
    def wait(self) -> Wait:
        return self.history.waits[0]

    @property
    def stream(self) -> Stream:
        return self.history.streams[0]

    @property
    def session(self) -> StoredSession:
        return self.stored.sessions[SESSION_NUMBER]

    def row(self, name: str) -> StoredRequest:
        return self.stored.requests[name]

    def attempt(self, name: str) -> Attempt:
        return next(a for a in self.history.attempts if a.request_id == name)

    def away(self, part: Part, begin: float, end: float, target: int = 0) -> None:
        self.outages.begin(part, target, "made up", begin).ended = end

    def violations(self) -> set[Broken]:
        """Return which promises the checks find broken."""
        return {violation.broken for violation in self.verdict().violations}

    def said(self) -> str:
        """Return what the checks say of the violations, a line each."""
        return "\n".join(violation.what for violation in self.verdict().violations)

    def counted(self, name: str) -> int:
        return self.verdict().counts[name]

    def verdict(self, decisions: int = 0) -> Verdict:
        verdict = Verdict(Limits())
        judge(Options(decisions=decisions), self.history, self.stored, verdict)
        return verdict


def good_day() -> Day:
    """Return a run in which every promise holds."""
    day = Day(History(Outages(3), ended_at=END), Stored(read_at=END))
    for number, (name, origin) in enumerate(
        (("outside", Origin.OUTSIDE), ("rest", Origin.REST), ("user", Origin.USER)), start=1
    ):
        day.history.questions[name] = _question(name, origin)
        day.history.attempts.append(
            Attempt(name, "approver-1", "approve", None, 100.0, 100.1, 200, "approved")
        )
        day.history.attempts.append(
            Attempt(name, "approver-2", "reject", None, 100.0, 100.1, 409, "approved")
        )
        day.stored.requests[name] = _row(number, name)
    listening = Listening(day.history.questions["outside"], [Subscription(50.0, 100.2)])
    listening.message, listening.received_at = signal("outside"), 100.2
    day.history.listenings.append(listening)
    day.history.waits.append(Wait(day.history.questions["rest"], 50.0, 100.2, "approved"))
    _add_session(day)
    return day


def _question(name: str, origin: Origin) -> Question:
    session_id = f"session-of-{name}"
    return Question(name, session_id, "tenant1", "user-1", origin, Fate.DECIDE, 49.0)


def _row(number: int, name: str) -> StoredRequest:
    return StoredRequest(
        number=number,
        request_id=name,
        session_id=f"session-of-{name}",
        tenant="tenant1",
        origin={"user": "agent", "outside": "redis"}.get(name, name),
        status="approved",
        expires_at=350.0,
        records=[
            Record("request:adopted" if name == "outside" else "request:opened", 50.0),
            Record("request:approved", 100.0),
        ],
        outbox=[OutboxRow(signal(name), "delivered", 1, 1)],
        in_redis="approved",
    )


def _add_session(day: Day) -> None:
    rows: list[tuple[str, dict[str, object], float]] = [
        ("start", {}, 49.0),
        ("hitl", {"requestId": "user", "stepId": "step_1"}, 50.0),
        ("tool_execution", tool("success"), 101.0),
        ("content", {"content": "Done", "chunk": True}, 102.0),
        ("content", {"content": ".", "chunk": False}, 102.0),
        ("end", {"status": "completed"}, 103.0),
    ]
    session = StoredSession(SESSION_NUMBER, "session-of-user", "completed")
    stream = Stream("user-1", "tenant1", "Delete 3 emails", connections=2, ended="clean")
    for sequence, (name, payload, at) in enumerate(rows, start=1):
        text = json.dumps(payload)
        session.events.append(StoredEvent(sequence, name, text, at))
        stream.frames.append(Frame((SESSION_NUMBER << 20) + sequence, name, text))
    stream.frames.append(Frame(None, None, "[DONE]"))
    day.stored.sessions[SESSION_NUMBER] = session
    day.history.streams.append(stream)


def tool(status: str) -> dict[str, object]:
    return {"toolName": "delete_mail", "status": status, "requiresApproval": True}
