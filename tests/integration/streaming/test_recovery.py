"""A session survives its process (docs/adr/0021 and 0022)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest, AuditRecord
from streaming import leases, recovery, sessions
from streaming.agents.base import Agent
from streaming.agents.demo import DemoAgent
from streaming.models import Event, Session
from tests import factories
from tests.integration.events import begin
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.integration.running import SOON, ended, question
from tests.integration.small_agents import Asker, Talker, begun, configure, names
from tests.integration.takeovers import (
    Breaker,
    Parrot,
    Resumer,
    Worker,
    cut,
    dies,
    lapse,
    payload,
    recovered,
    told,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

TWO_ACTIONS = "delete 3 mails and send a report to kim@example.com"


async def approve_all(task: asyncio.Task[None]) -> None:
    """Say yes to every question until the session is over."""
    async with asyncio.timeout(SOON):
        while not task.done():
            for request in await run_sync(lambda: list(ApprovalRequest.objects.pending())):
                await run_sync(services.approve, request.request_id, factories.actor())
            await asyncio.sleep(0.02)


async def test_waiting_session_goes_on_where_its_process_died(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    asked = await question()
    await dies(session, task)

    task = await recovered(session)
    await run_sync(services.approve, asked.request_id, factories.actor())

    assert await ended(session, task) == ["start", "hitl", "tool_execution", "content", "end"]
    assert (session.status, session.lease_number) == ("completed", 2)
    assert await run_sync(ApprovalRequest.objects.count) == 1


@pytest.mark.parametrize(
    ("agent", "options"),
    [(DemoAgent, {"chunk_delay": 0, "step_delay": 0}), (Worker, {})],
    ids=["demo", "worker"],
)
async def test_session_cut_after_any_event_ends_like_one_that_was_not(
    settings: Settings, tmp_path: Path, agent: type[Agent], options: dict[str, Any]
) -> None:
    path = tmp_path / "lines"
    configure(settings, agent, **(options or {"path": str(path)}))
    session, task = await begun(TWO_ACTIONS)
    await approve_all(task)
    whole = await run_sync(told, session)
    assert whole[-1][0] == "end"

    for place in range(len(whole)):
        await run_sync(cut, session, place)
        asked = sum(name == "hitl" for name, _ in whole[place:])
        before, lines = await run_sync(ApprovalRequest.objects.count), len(Worker.lines(path))
        again = await recovered(session)
        await approve_all(again)

        assert await run_sync(told, session) == whole, place
        # No question twice, and nothing done again whose record is there.
        assert await run_sync(ApprovalRequest.objects.count) - before == asked
        if agent is Worker:
            acted = sum(fields.get("status") == "success" for _, fields in whole[place:])
            assert len(Worker.lines(path)) - lines == acted
    await run_sync(session.refresh_from_db)
    assert (session.status, session.last_sequence) == ("completed", len(whole))


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


async def test_refusal_while_no_process_ran_the_session_stops_it(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    asked = await question()
    await dies(session, task)
    await run_sync(services.reject, asked.request_id, factories.actor(), reason="no")

    assert await ended(session, await recovered(session)) == ["start", "hitl", "error"]
    assert session.status == "rejected"


async def test_question_that_expired_meanwhile_fails_the_session(settings: Settings) -> None:
    configure(settings, Resumer, timeout_seconds=1)
    session, task = await begun()
    await question()
    await dies(session, task)
    await asyncio.sleep(1)

    found = await ended(session, await recovered(session))

    assert found == ["start", "hitl", "failed", "error", "end"]
    assert (await run_sync(payload, session, "error"))["errorType"] == "TimeoutError"


async def test_replay_does_not_wait_again(settings: Settings) -> None:
    configure(settings, DemoAgent, chunk_delay=0, step_delay=0)
    session, task = await begun("summarise the mails")
    await ended(session, task)
    await run_sync(cut, session, session.last_sequence - 1)
    configure(settings, DemoAgent, chunk_delay=30, step_delay=30)

    assert (await ended(session, await recovered(session)))[-1] == "end"


# --- agents that do not do the same again -------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {"only": 2}, "event 4: recorded is content, now came its end"),
        ({}, {"only": 0, "ask": "x"}, "event 2: recorded is content, now came hitl"),
        ({"ask": "x"}, {"ask": "y"}, "event 5: recorded is hitl, now came another question, y"),
        ({"ask": "x"}, {}, "event 5: recorded is hitl, now came its end"),
    ],
)
async def test_agent_that_does_not_repeat_itself_fails_the_session(
    settings: Settings, before: dict[str, Any], after: dict[str, Any], why: str
) -> None:
    configure(settings, Parrot, **before)
    session, task = await begun()
    if "ask" in before:
        await question()
    await until(lambda: len(names(session)) >= 4, within=SOON)
    await dies(session, task)
    await run_sync(cut, session, 5 if "ask" in before else 4)
    configure(settings, Parrot, **after)

    found = await ended(session, await recovered(session))

    assert found[-3:] == ["failed", "error", "end"]
    assert session.status == "failed"
    error = await run_sync(payload, session, "error")
    assert (error["errorType"], why in error["error"]) == ("SessionLost", True)
    assert not await run_sync(ApprovalRequest.objects.pending().exists)


async def test_agent_that_says_something_else_fails_the_session(settings: Settings) -> None:
    configure(settings, Parrot)
    session, task = await begun("one")
    await ended(session, task)
    await run_sync(cut, session, 4)
    await run_sync(lambda: Session.objects.update(prompt="two"))

    assert (await ended(session, await recovered(session)))[-3:] == ["failed", "error", "end"]
    assert "event 3" in (await run_sync(payload, session, "error"))["error"]


async def test_agent_that_breaks_where_it_did_not_fails_the_session(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    asked = await question()
    await dies(session, task)
    configure(settings, Breaker)

    found = await ended(session, await recovered(session))

    assert found == ["start", "hitl", "failed", "error", "end"]
    assert "LookupError: no mailbox" in (await run_sync(payload, session, "error"))["error"]
    await run_sync(asked.refresh_from_db)
    assert asked.status == "cancelled"


async def test_session_that_ends_its_process_again_and_again_is_lost(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Session.objects.update(lease_number=400))

    assert (await ended(session, await recovered(session)))[-3:] == ["failed", "error", "end"]
    assert "400 times" in (await run_sync(payload, session, "error"))["error"]


# --- sessions that cannot go on -----------------------------------------------------------


async def test_agent_that_cannot_resume_is_lost(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()
    await dies(session, task)

    found = await ended(session, await recovered(session))

    assert found == ["start", "hitl", "failed", "error", "end"]
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

    found = await ended(session, await recovered(session))

    assert found == ["start", "content", "content", "content", "end"]


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


async def test_session_whose_agent_is_gone_ends(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Session.objects.update(agent="retired"))

    found = await ended(session, await recovered(session))

    assert found == ["start", "hitl", "failed", "error", "end"]
    assert "not configured any more" in (await run_sync(payload, session, "error"))["error"]


@pytest.mark.parametrize("kept", [0, 1])
async def test_session_without_its_first_events_is_lost(settings: Settings, kept: int) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    await question()
    await dies(session, task)
    await run_sync(lambda: Event.objects.filter(sequence__lte=2 - kept).delete())

    found = await ended(session, await recovered(session))

    assert found[-3:] == ["failed", "error", "end"]
    assert "no longer kept" in (await run_sync(payload, session, "error"))["error"]


# --- the loop -----------------------------------------------------------------------------


async def test_released_session_is_found_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SCAN_SECONDS", 3600.0)
    configure(settings, Talker)
    session = await run_sync(begin)
    loop = asyncio.create_task(recovery.run())
    await asyncio.sleep(0.5)
    try:
        await run_sync(leases.release, [session.pk])
        await until(lambda: names(session)[-1:] == ["end"], within=SOON)
    finally:
        loop.cancel()


async def test_recovery_outlives_a_database_that_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SCAN_SECONDS", 0.1)
    configure(settings, Talker)
    session = await run_sync(begin)
    await run_sync(lapse, session)
    with no_database():
        loop = asyncio.create_task(recovery.run())
        await asyncio.sleep(0.5)
    try:
        await until(lambda: names(session)[-1:] == ["end"], within=SOON)
    finally:
        loop.cancel()


async def test_more_sessions_than_a_batch_are_all_carried_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SCAN_SECONDS", 3600.0)
    configure(settings, Talker)
    for _ in range(60):
        await run_sync(lapse, await run_sync(begin))
    loop = asyncio.create_task(recovery.run())
    try:
        await until(lambda: not Session.objects.running().exists(), within=3 * SOON)
    finally:
        loop.cancel()
    assert await run_sync(Event.objects.count) == 60 * 5
