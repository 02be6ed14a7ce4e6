"""Sessions and events to look at."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

from streaming import events, log, replay, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session, SessionStatus
from tests.people import REQUESTER

START = AgentEvent("start", {"message": "go"})
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
END = AgentEvent("end", {"message": "done", "status": "completed"})


def said(text: str) -> AgentEvent:
    """Return a piece of content."""
    return AgentEvent("content", {"content": text, "chunk": True})


def begin(prompt: str = "test") -> Session:
    """Begin a session of user123 that nothing runs."""
    return sessions.begin(
        sessions.Prompt(prompt), tenant_id=REQUESTER.tenant_id, user_id=REQUESTER.user_id
    )


def rows(session: Session) -> list[tuple[int, str]]:
    """Return sequence and name of every event of the session."""
    queryset = Event.objects.filter(session=session).order_by("sequence")
    return list(queryset.values_list("sequence", "name"))


def content_of(page: replay.ReplayPage) -> list[str]:
    """Return the texts of the content events of a page."""
    lines = [line for line in page.frames.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line[6:])["content"] for line in lines]


def grow(session: Session, count: int, *, days_old: float) -> None:
    """Append pieces of content that were sent so long ago."""
    session.refresh_from_db()
    at = NOW - timedelta(days=days_old)
    texts = [said(str(session.last_sequence + number)) for number in range(1, count + 1)]
    log.append(session.pk, texts, after=session.last_sequence, lease=1, now=at)


def end(session: Session, *, days_old: float) -> None:
    session.refresh_from_db()
    at, after = NOW - timedelta(days=days_old), session.last_sequence
    log.append(session.pk, [END], after=after, lease=1, ending=SessionStatus.COMPLETED, now=at)


def frames_in(page: replay.ReplayPage) -> list[tuple[int, str]]:
    """Return sequence and name of every frame of a page."""
    pairs = re.findall(r"^id: (\d+)\nevent: (\w+)$", page.frames.decode(), re.MULTILINE)
    return [(int(number) & events.MAX_SEQUENCE, name) for number, name in pairs]
