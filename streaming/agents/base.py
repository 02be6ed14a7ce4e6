"""What an agent is: frozen input and a gate in, events out.

An agent never sees a model, a connection or a queue. The runner owns those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class AgentTask:
    """One prompt to work on. `context` is what the client sent along, any JSON object."""

    session_id: str
    tenant_id: str
    user_id: str
    prompt: str
    context: Mapping[str, Any] = field(default_factory=dict)
    thread_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One event of the stream: a type and fields of the table in docs/reference/wire.md, 4.4."""

    type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """The approval that `Gate.ask` returns. Anything but an approval is an exception."""

    request_id: str
    decided_by: str


class GateClosed(Exception):
    """The question was not answered with yes: the agent must stop.

    `error_type` and `reason` are what the stream's `error` event says.
    An agent that swallows this and goes on is stopped by the runner at its next event.
    """

    error_type = "RejectionError"

    def __init__(self, reason: str, *, request_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.request_id = request_id


class Rejected(GateClosed):
    """A person said no."""


class TimedOut(GateClosed):
    """Nobody answered before the request expired."""

    error_type = "TimeoutError"


class Withdrawn(GateClosed):
    """The request, or its whole session, was cancelled."""

    error_type = "CancelledError"


class Gate(Protocol):
    """Where an agent asks before it acts."""

    async def ask(
        self,
        action_type: str,
        *,
        message: str,
        context: Mapping[str, Any] | None = None,
        confidence: float | None = None,
        step_id: str | None = None,
        timeout_seconds: int | None = None,
    ) -> Decision:
        """Ask a person and wait, emitting the `hitl` event; return only on approval.

        `confidence` is 0-1. `timeout_seconds` defaults to the deployment's (300).
        Raises a `GateClosed` (rejected, timed out, withdrawn), which agents let pass.
        """
        ...


class Agent(ABC):
    """Base of every agent; configured by `DWP_AGENTS` as `BACKEND` and `OPTIONS`.

    `can_resume` declares that `run` is a pure function of its task and the decisions it
    is given: run again it yields the same events in the same order, so a session that
    lost its process can be carried on by skipping what is already recorded.
    """

    can_resume: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        if options:
            names = ", ".join(sorted(options))
            raise TypeError(f"{type(self).__name__} takes no option named {names}")

    @abstractmethod
    def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        """Yield the events of the work on `task`, between `start` and `end`.

        The runner adds `start`, `hitl`, and every closing event (`error`, `failed`, `end`).
        """
