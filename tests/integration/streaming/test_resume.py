"""What a session without its process goes on from, and how it ends if it cannot (docs/adr/0022)."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl.models import AuditRecord
from streaming import sessions
from streaming.agents.base import Agent
from streaming.agents.demo import DemoAgent
from streaming.models import Event, Session
from tests import factories
from tests.integration.events import begin
from tests.integration.running import approve_all, ended, question
from tests.integration.small_agents import Asker, Talker, begun, configure
from tests.integration.takeovers import (
    Resumer,
    Worker,
    cut,
    dies,
    lapse,
    payload,
    recovered,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


async def test_recorded_decisions_keep_their_request_when_resumed(
    settings: Settings, tmp_path: Path
) -> None:
    # Outer systems may know the effect by this id: the way out where a record is missing.
    path = tmp_path / "lines"
    configure(settings, Worker, path=str(path))
    session, task = await begun()
    await approve_all(task)
    running = 3  # start, hitl, tool_execution running

    await run_sync(cut, session, running)
    await approve_all(await recovered(session))

    first, _, again, _ = Worker.lines(path)
    assert again == first


async def test_replay_does_not_wait_again(settings: Settings) -> None:
    configure(settings, DemoAgent, chunk_delay=0, step_delay=0)
    session, task = await begun("summarise the mails")
    await ended(session, task)
    await run_sync(cut, session, session.last_sequence - 1)
    configure(settings, DemoAgent, chunk_delay=30, step_delay=30)

    assert (await ended(session, await recovered(session)))[-1] == "end"


# --- sessions that cannot go on -----------------------------------------------------------


async def test_session_that_ends_its_process_again_and_again_is_lost(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Session.objects.update(lease_number=400))

    assert (await ended(session, await recovered(session)))[-3:] == ["failed", "error", "end"]
    assert "400 times" in (await run_sync(payload, session, "error"))["error"]


async def test_agent_that_cannot_resume_is_lost(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()
    await dies(session, task)

    event_names = await ended(session, await recovered(session))

    assert event_names == ["start", "hitl", "failed", "error", "end"]
    assert session.status == "failed"
    failed = await run_sync(payload, session, "failed")
    assert (failed["errorType"], failed["requestId"]) == ("SessionLost", asked.request_id)
    assert "cannot resume" in failed["error"]
    assert "Send the prompt again" in failed["error"]
    await run_sync(asked.refresh_from_db)
    assert asked.status == "cancelled"
    record = await run_sync(AuditRecord.objects.get, event="request:cancelled")
    assert (record.actor, record.actor_kind) == ("recovery", "clock")
    assert "cannot resume" in record.details


async def test_session_that_recorded_nothing_is_begun_with_any_agent(settings: Settings) -> None:
    configure(settings, Talker)
    session = await run_sync(begin)
    await run_sync(lapse, session)

    event_names = await ended(session, await recovered(session))

    assert event_names == ["start", "content", "content", "content", "end"]


async def test_session_whose_agent_is_gone_ends(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Session.objects.update(agent="retired"))

    event_names = await ended(session, await recovered(session))

    assert event_names == ["start", "hitl", "failed", "error", "end"]
    assert "not configured any more" in (await run_sync(payload, session, "error"))["error"]


@pytest.mark.parametrize("remaining", [0, 1])
async def test_session_without_its_first_events_is_lost(settings: Settings, remaining: int) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Event.objects.filter(sequence__lte=2 - remaining).delete())

    event_names = await ended(session, await recovered(session))

    assert event_names[-3:] == ["failed", "error", "end"]
    assert "no longer kept" in (await run_sync(payload, session, "error"))["error"]


# --- sessions that were cancelled while no process ran them --------------------------------


async def test_cancelled_session_of_a_dead_process_ends_as_cancelled(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    asked = await question()
    await dies(session, task)
    await run_sync(sessions.cancel, session.session_id, factories.actor())

    assert await ended(session, await recovered(session)) == ["start", "hitl", "error", "end"]
    assert session.status == "cancelled"
    await run_sync(asked.refresh_from_db)
    assert (asked.status, asked.decided_by) == ("cancelled", "approver1")


@pytest.mark.parametrize("agent", [Resumer, Asker])
async def test_cancellation_that_was_cut_short_is_finished(
    settings: Settings, agent: type[Agent]
) -> None:
    # The process that cancelled ended between the flag and the question.
    configure(settings, agent)
    session, task = await begun()
    asked = await question()
    await dies(session, task)
    await run_sync(lambda: Session.objects.update(cancel_requested_at=timezone.now()))

    assert await ended(session, await recovered(session)) == ["start", "hitl", "error", "end"]
    assert session.status == "cancelled"
    await run_sync(asked.refresh_from_db)
    assert (asked.status, asked.decided_by) == ("cancelled", "recovery")
