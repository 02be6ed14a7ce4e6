"""Sessions and events to look at."""

from __future__ import annotations

import json

from streaming import replay, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session
from tests.people import REQUESTER

START = AgentEvent("start", {"message": "go"})
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
    found = Event.objects.filter(session=session).order_by("sequence")
    return list(found.values_list("sequence", "name"))


def content_of(page: replay.ReplayPage) -> list[str]:
    """Return the texts of the content events of a page."""
    lines = [line for line in page.frames.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line[6:])["content"] for line in lines]
