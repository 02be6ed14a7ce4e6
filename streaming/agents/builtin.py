"""The agent that comes with the project: it needs no model and no network.

It plans steps from its prompt and asks before each one that changes something. Its tools are
simulated, and its results say so. `run` depends on the task and the decisions alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from streaming.agents.planning import Step
from streaming.agents.prompt import Understanding, understand
from streaming.agents.wording import Wording

_MAX_DELAY = 60.0

# How sure the agent is of a step (`confidence` of docs/reference/wire.md 4.4, 0 to 1): of an
# action less, and still less where the prompt does not name what it is done to.
_SURE_OF_READING = 0.95
_SURE_OF_ACTION = 0.9
_UNSURE_OF_OBJECT = 0.7

# A piece of content: up to three words with the space after them.
_PIECE = re.compile(r"\s*+(?:\S++\s*+){1,3}")


class BuiltinAgent(Agent):
    """Understands English and Korean by rules, and asks before every action with side effects.

    Options: `chunk_delay` and `step_delay`, the seconds (0 to 60) to wait before each piece of
    content and each step, so that a stream can be watched.
    """

    can_resume: ClassVar[bool] = True

    def __init__(
        self, *, chunk_delay: float = 0.03, step_delay: float = 0.05, **options: Any
    ) -> None:
        super().__init__(**options)
        self._chunk_delay = _seconds("chunk_delay", chunk_delay)
        self._step_delay = _seconds("step_delay", step_delay)

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        # A prompt of 256 KiB takes a second; the event loop has other streams to serve.
        understanding = await asyncio.to_thread(understand, task.prompt)
        wording = Wording(understanding)
        pace = _Pace(len(task.recorded))
        async with aclosing(self._work(task, understanding, wording, gate, pace)) as work:
            async for event in work:
                pace.count()
                yield event

    async def _work(
        self,
        task: AgentTask,
        understanding: Understanding,
        wording: Wording,
        gate: Gate,
        pace: _Pace,
    ) -> AsyncGenerator[AgentEvent, None]:
        yield _thought("analysis", wording.analysis(task.prompt))
        yield _thought("planning", wording.planning())
        for event in _plan(understanding, wording):
            yield event
        if not understanding.steps:
            await pace.pause(self._step_delay)
            for event in _progress("step_1", wording.answering()[0]):
                yield event
        for order, step in enumerate(understanding.steps, start=1):
            await pace.pause(self._step_delay)
            async for event in self._take(f"step_{order}", step, wording, gate, pace):
                yield event
        async for event in self._stream(wording.answer(), pace):
            yield event

    async def _take(
        self, step_id: str, step: Step, wording: Wording, gate: Gate, pace: _Pace
    ) -> AsyncIterator[AgentEvent]:
        """Yield the events of one step. What the gate raises passes, and nothing is executed."""
        title = wording.title(step)
        yield _step_update(step_id, "in_progress", 0.0)
        yield _timeline_update(step_id, title, "in_progress", 0.0)
        if step.is_action:
            await gate.ask(
                step.name,
                message=wording.question(step),
                context=dict(step.parameters),
                confidence=_confidence(step),
                step_id=step_id,
            )
            pace.count()
        yield _tool_execution(step, "running")
        await pace.pause(self._step_delay)
        yield _tool_execution(step, "success", {"simulated": True, **_arguments(step)})
        yield _step_update(step_id, "completed", 1.0)
        yield _timeline_update(step_id, title, "completed", 1.0)

    async def _stream(self, text: str, pace: _Pace) -> AsyncIterator[AgentEvent]:
        for piece in _PIECE.findall(text):
            await pace.pause(self._chunk_delay)
            yield AgentEvent("content", {"content": piece, "chunk": True})
        yield AgentEvent("content", {"content": "", "chunk": False})


class _Pace:
    """Waits so that a stream can be watched; not before what an earlier run has sent already."""

    def __init__(self, recorded: int) -> None:
        self._recorded = recorded

    def count(self) -> None:
        """Note that one event is done: yielded, or sent by the gate."""
        self._recorded -= 1

    async def pause(self, seconds: float) -> None:
        if self._recorded <= 0:
            await asyncio.sleep(seconds)


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not 0 <= value <= _MAX_DELAY:
        raise ValueError(f"{name} must be 0 to {_MAX_DELAY:g} seconds, not {value!r}")
    return float(value)


def _plan(understanding: Understanding, wording: Wording) -> Iterator[AgentEvent]:
    if not understanding.steps:
        yield _plan_step(1, *wording.answering(), _SURE_OF_READING)
    for order, step in enumerate(understanding.steps, start=1):
        yield _plan_step(order, wording.title(step), wording.description(step), _confidence(step))


def _progress(step_id: str, title: str) -> Iterator[AgentEvent]:
    for status, progress in (("in_progress", 0.0), ("completed", 1.0)):
        yield _step_update(step_id, status, progress)
        yield _timeline_update(step_id, title, status, progress)


def _confidence(step: Step) -> float:
    if not step.is_action:
        return _SURE_OF_READING
    return _SURE_OF_ACTION if step.is_object_named else _UNSURE_OF_OBJECT


def _arguments(step: Step) -> Mapping[str, Any]:
    """Return what the tool is called with: what was approved, or what is read."""
    if step.is_action:
        return step.parameters
    return {"target": step.target} if step.target else {}


# --- events, by the table of docs/reference/wire.md 4.4 --------------------------------------


def _thought(kind: str, content: str) -> AgentEvent:
    sources = [{"type": "prompt", "name": "prompt"}]
    return AgentEvent("thought", {"thoughtType": kind, "content": content, "sources": sources})


def _plan_step(order: int, title: str, description: str, confidence: float) -> AgentEvent:
    return AgentEvent(
        "plan_step",
        {
            "stepId": f"step_{order}",
            "title": title,
            "description": description,
            "status": "pending",
            "confidence": confidence,
            "order": order,
        },
    )


def _step_update(step_id: str, status: str, progress: float) -> AgentEvent:
    return AgentEvent(
        "plan_step_update", {"stepId": step_id, "status": status, "progress": progress}
    )


def _timeline_update(step_id: str, title: str, status: str, progress: float) -> AgentEvent:
    return AgentEvent(
        "timeline_step_update",
        {"stepId": step_id, "title": title, "status": status, "progress": progress},
    )


def _tool_execution(step: Step, status: str, result: Mapping[str, Any] | None = None) -> AgentEvent:
    return AgentEvent(
        "tool_execution",
        {
            "toolName": step.name,
            "toolArgs": dict(_arguments(step)),
            "status": status,
            "result": result,
            "error": None,
            "requiresApproval": step.is_action,
        },
    )
