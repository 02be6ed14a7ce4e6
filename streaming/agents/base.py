"""What an agent is: frozen input and a gate in, events out.

An agent never sees a model, a connection or a queue. The runner owns those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One event of the stream: a type and fields of the table in docs/reference/wire.md, 4.4."""

    type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AgentTask:
    """One prompt to work on. `context` is what the client sent along, any JSON object.

    `recorded` is what an earlier run on this task got into the database before its process
    ended: its events, `hitl` among them, in order and without `start`. Empty in a first run.
    """

    session_id: str
    tenant_id: str
    user_id: str
    prompt: str
    context: Mapping[str, Any] = field(default_factory=dict)
    thread_id: str | None = None
    recorded: tuple[AgentEvent, ...] = ()

    def find_recorded(self, type: str, **fields: Any) -> AgentEvent | None:  # noqa: A002
        """Return the first recorded event of this type with these fields, if there is one."""
        for event in self.recorded:
            if event.type == type and all(
                name in event.fields and event.fields[name] == value
                for name, value in fields.items()
            ):
                return event
        return None


@dataclass(frozen=True, slots=True)
class Decision:
    """The approval that `Gate.ask` returns. Anything but an approval is an exception.

    `request_id` stays the same when a session is resumed: use it as idempotency key of what
    is done on this yes.
    """

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

    `can_resume` declares that `run` may be called again, in another process, after the one
    it ran in has ended, and then yields and asks the same in the same order as far as
    `task.recorded` goes. What is recorded is neither sent nor asked again, and the answers
    are those that were given; behind it the agent works on. If it does not repeat itself the
    session fails.

    Code behind a `yield` or an `ask` runs again with it. So before an effect, an agent checks
    whether the event that reports it is recorded, and if so skips it. What happened just
    before the process ended may not be recorded: only the system that was acted on knows, see
    docs/how-to/write-an-agent.md.
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
