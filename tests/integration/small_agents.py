"""Small agents, each with one habit, and a way to run a session with one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from dwp_project.offload import run_sync
from streaming import runner, sessions
from streaming.agents import registry
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate, GateClosed
from streaming.models import Event, Session
from tests.people import REQUESTER


def said(text: str, *, more: bool = True) -> AgentEvent:
    return AgentEvent("content", {"content": text, "chunk": more})


class Talker(Agent):
    """Says what it was asked, in three pieces."""

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for text in ("You said: ", task.prompt):
            yield said(text)
        yield said("", more=False)


class Asker(Agent):
    """Asks before it acts; `timeout_seconds` and `times` are its options."""

    def __init__(self, timeout_seconds: int | None = None, times: int = 1) -> None:
        super().__init__()
        self._timeout_seconds, self._times = timeout_seconds, times

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for number in range(1, self._times + 1):
            decision = await gate.ask(
                "delete_mail",
                message=f"{number}?",
                context={"count": number},
                confidence=0.9,
                step_id=f"step-{number}",
                timeout_seconds=self._timeout_seconds,
            )
            yield AgentEvent(
                "tool_execution",
                {
                    "toolName": "delete_mail",
                    "toolArgs": {"count": number},
                    "status": "success",
                    "result": decision.decided_by,
                    "error": None,
                    "requiresApproval": True,
                },
            )
        yield said("done", more=False)


class Swallower(Agent):
    """Does not take no for an answer: `then` says what it does instead."""

    def __init__(self, then: str) -> None:
        super().__init__()
        self._then = then

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        try:
            await gate.ask("delete_mail", message="?")
        except GateClosed:
            if self._then == "ask again":
                await gate.ask("delete_mail", message="really?")
        if self._then != "end":
            yield said("deleted all the same")


class Broken(Agent):
    """Fails in the middle of its work."""

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        yield said("so far")
        raise LookupError("the mailbox is gone")


class Unspeakable(Agent):
    """Fails with a text that no encoding carries."""

    can_resume = True

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        if task.prompt:
            raise LookupError("gone: \ud800" + "x" * 100_000)
        yield said("")


class Inventive(Agent):
    """Yields an event that there is not."""

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        yield AgentEvent("applause", {})


class Tireless(Agent):
    """Never ends: a thought every `pause` seconds."""

    def __init__(self, pause: float = 0.02, stubborn: bool = False) -> None:
        super().__init__()
        self._pause, self._stubborn = pause, stubborn

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        while True:
            yield AgentEvent("thought", {"thoughtType": "analysis", "content": "hm", "sources": []})
            try:
                await asyncio.sleep(self._pause)
            except asyncio.CancelledError:
                if not self._stubborn:
                    raise


def configure(settings: Any, agent: type[Agent], **options: Any) -> None:
    """Make `agent` the one that sessions run."""
    backend = f"{agent.__module__}.{agent.__qualname__}"
    settings.DWP_AGENTS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    registry.agent.cache_clear()


async def begun(prompt: str = "test") -> tuple[Session, asyncio.Task[None]]:
    """Begin a session of user123 and run it."""
    session = await run_sync(
        sessions.begin,
        sessions.Prompt(prompt),
        tenant_id=REQUESTER.tenant_id,
        user_id=REQUESTER.user_id,
    )
    return session, runner.start(session)


def names(session: Session) -> list[str]:
    """Return the names of the session's events in order."""
    return list(
        Event.objects.filter(session=session).order_by("sequence").values_list("name", flat=True)
    )
