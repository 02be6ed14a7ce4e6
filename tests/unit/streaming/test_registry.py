"""The seam behind which agents stand: `DWP_AGENTS`, shaped like `CACHES`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from streaming.agents import registry
from streaming.agents.base import (
    Agent,
    AgentEvent,
    AgentTask,
    Gate,
    GateClosed,
    Rejected,
    TimedOut,
    Withdrawn,
)
from streaming.agents.demo import DemoAgent
from streaming.checks import agents_are_usable


class Silent(Agent):
    """Does nothing; takes one option."""

    def __init__(self, mood: str = "calm", **options: Any) -> None:
        super().__init__(**options)
        self.mood = mood

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for event in list[AgentEvent]():
            yield event


class NoAgent:
    """Has the name of one only."""


SILENT = f"{__name__}.Silent"


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    registry.agent.cache_clear()
    yield
    registry.agent.cache_clear()


def test_agent_is_made_once_with_its_options(settings: Settings) -> None:
    settings.DWP_AGENTS = {"default": {"BACKEND": SILENT, "OPTIONS": {"mood": "wild"}}}

    agent = registry.agent()

    assert isinstance(agent, Silent)
    assert agent.mood == "wild"
    assert registry.agent() is agent


def test_options_may_be_left_out(settings: Settings) -> None:
    settings.DWP_AGENTS = {"default": {"BACKEND": SILENT}, "other": {"BACKEND": SILENT}}

    assert isinstance(registry.agent("other"), Silent)
    assert agents_are_usable(None) == []


def test_former_path_of_the_demo_agent_still_leads_to_it(settings: Settings) -> None:
    former = {"BACKEND": "streaming.agents.builtin.BuiltinAgent", "OPTIONS": {"chunk_delay": 0}}
    settings.DWP_AGENTS = {"default": former}

    assert isinstance(registry.agent(), DemoAgent)


def test_agents_as_configured_are_usable() -> None:
    assert agents_are_usable(None) == []


@pytest.mark.parametrize(
    ("configured", "complaint"),
    [
        ({}, "BACKEND"),
        ({"BACKEND": "no.such.module.Agent"}, "No module named"),
        ({"BACKEND": f"{__name__}.Missing"}, "Missing"),
        ({"BACKEND": "nodots"}, "module path"),
        ({"BACKEND": f"{__name__}.NoAgent"}, "is no Agent"),
        ({"BACKEND": f"{__name__}.SILENT"}, "is no Agent"),
        ({"BACKEND": SILENT, "OPTIONS": {"speed": 1}}, "no option named speed"),
        ({"BACKEND": "streaming.agents.base.Agent"}, "abstract"),
    ],
)
def test_agent_that_cannot_be_made_says_why(
    settings: Settings, configured: dict[str, Any], complaint: str
) -> None:
    settings.DWP_AGENTS = {"default": configured}

    with pytest.raises(ImproperlyConfigured, match=complaint):
        registry.agent()
    [error] = agents_are_usable(None)
    assert error.id == "streaming.E002"


def test_configuration_without_a_default_is_an_error(settings: Settings) -> None:
    settings.DWP_AGENTS = {"other": {"BACKEND": SILENT}}

    assert [error.id for error in agents_are_usable(None)] == ["streaming.E001"]


def test_task_and_event_are_frozen() -> None:
    task = AgentTask(session_id="s", tenant_id="t", user_id="u", prompt="p")

    with pytest.raises(FrozenInstanceError):
        task.prompt = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        AgentEvent("start", {}).type = "end"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("refusal", "error_type"),
    [(Rejected, "RejectionError"), (TimedOut, "TimeoutError"), (Withdrawn, "CancelledError")],
)
def test_refusal_is_named_as_on_the_wire(refusal: type[GateClosed], error_type: str) -> None:
    closed = refusal("why", request_id="req_1")

    assert isinstance(closed, GateClosed)
    assert (closed.error_type, closed.reason, closed.request_id) == (error_type, "why", "req_1")
