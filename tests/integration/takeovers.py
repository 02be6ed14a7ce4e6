"""Processes that die, freeze and take over, all within one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from django.db.models import F
from django.utils import timezone

from dwp_project.offload import run_sync
from streaming import events, recovery
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from streaming.lease_keeper import lease_keeper
from streaming.models import Event, Session, SessionStatus
from tests.integration.running import SOON
from tests.integration.small_agents import Asker, Talker, said

OTHER = "elsewhere:1:cafe"


class Resumer(Asker):
    """An asker that can resume."""

    can_resume: ClassVar[bool] = True


class Parrot(Talker):
    """A talker that can resume, and says `instead` where it was asked something else."""

    can_resume: ClassVar[bool] = True

    def __init__(self, only: int = 3, ask: str = "") -> None:
        super().__init__()
        self._only, self._ask = only, ask

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for number, text in enumerate(["You said: ", task.prompt, "."]):
            if number < self._only:
                yield said(text)
        if self._ask:
            await gate.ask(self._ask, message="?")
            yield said("done")


class Breaker(Agent):
    """Says it can resume, and fails before it does anything."""

    can_resume: ClassVar[bool] = True

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        raise LookupError("no mailbox")
        yield said("never")


class Rash(Agent):
    """Acts right behind its question: a line in the file `path`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        decision = await gate.ask("write_line", message="?")
        self._path.write_text(decision.request_id, encoding="utf-8")
        yield said("done", more=False)


class Worker(Agent):
    """Does each of two things it may do: a line in the file `path`, and no line twice."""

    can_resume: ClassVar[bool] = True

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for number in (1, 2):
            decision = await gate.ask("write_line", message=f"{number}?", context={"n": number})
            tool = {
                "toolName": "write_line",
                "toolArgs": {"n": number},
                "error": None,
                "requiresApproval": True,
            }
            yield AgentEvent("tool_execution", {**tool, "status": "running", "result": None})
            done = task.find_recorded(
                "tool_execution", status="success", toolName="write_line", toolArgs={"n": number}
            )
            if done is None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(f"{number} {decision.request_id}\n")
            yield AgentEvent("tool_execution", {**tool, "status": "success", "result": number})
        yield said("done", more=False)

    @staticmethod
    def lines(path: Path) -> list[str]:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def lapse(session: Session) -> None:
    """Let the lease run out, as if its process had been gone for an hour."""
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Session.objects.filter(pk=session.pk).update(lease_owner=OTHER, lease_expires_at=an_hour_ago)


def taken_elsewhere(session: Session) -> None:
    """Give the session to another process."""
    Session.objects.filter(pk=session.pk).update(
        lease_owner=OTHER,
        lease_number=F("lease_number") + 1,
        lease_expires_at=timezone.now() + timedelta(hours=1),
    )


def cut(session: Session, sequence: int) -> None:
    """Put the session back to where only its first events were recorded, its process gone."""
    Event.objects.filter(session=session, sequence__gt=sequence).delete()
    Session.objects.filter(pk=session.pk).update(
        last_sequence=sequence, status=SessionStatus.RUNNING, ended_at=None
    )
    lapse(session)


async def dies(session: Session, task: asyncio.Task[None]) -> None:
    """End the session's task as the end of its process would."""
    task.cancel()
    await asyncio.wait({task})
    await run_sync(lapse, session)


async def recovered(session: Session) -> asyncio.Task[None]:
    """Take the session over, as the one that no process holds, and return its task."""
    assert await recovery.scan() == [session]
    run = lease_keeper()._runs[session.pk]
    assert run.task is not None
    return run.task


async def stops(task: asyncio.Task[None], within: float = SOON) -> None:
    """Wait until a task is over, whichever way."""
    done, _ = await asyncio.wait({task}, timeout=within)
    assert done, "it goes on"


def events_of(session: Session) -> list[tuple[str, dict[str, Any]]]:
    """Return name and fields of the session's events, without what differs in every run."""
    return [
        (
            row.name,
            {
                name: value
                for name, value in events.fields_of(row.name, row.payload).items()
                if name not in ("requestId", "sessionId", "expiresAt")
            },
        )
        for row in session.events.order_by("sequence")
    ]


def payload(session: Session, name: str) -> dict[str, Any]:
    """Return the payload of the session's one event of that name."""
    members = json.loads(session.events.get(name=name).payload)
    assert isinstance(members, dict)
    return members
