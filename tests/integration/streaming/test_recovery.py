"""A session survives its process (docs/adr/0021 and 0022)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import leases, recovery
from streaming.agents.base import Agent
from streaming.agents.demo import DemoAgent
from streaming.models import Event, Session
from tests import factories
from tests.integration.events import begin
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.integration.running import SOON, approve_all, ended, question
from tests.integration.small_agents import Talker, begun, configure, names
from tests.integration.takeovers import (
    Resumer,
    Worker,
    cut,
    dies,
    events_of,
    lapse,
    payload,
    recovered,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

TWO_ACTIONS = "delete 3 mails and send a report to kim@example.com"


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
    whole = await run_sync(events_of, session)
    assert whole[-1][0] == "end"

    for place in range(len(whole)):
        await run_sync(cut, session, place)
        asked = sum(name == "hitl" for name, _ in whole[place:])
        before, lines = await run_sync(ApprovalRequest.objects.count), len(Worker.lines(path))
        again = await recovered(session)
        await approve_all(again)

        assert await run_sync(events_of, session) == whole, place
        # No question twice, and nothing done again whose record is there.
        assert await run_sync(ApprovalRequest.objects.count) - before == asked
        if agent is Worker:
            acted = sum(fields.get("status") == "success" for _, fields in whole[place:])
            assert len(Worker.lines(path)) - lines == acted
    await run_sync(session.refresh_from_db)
    assert (session.status, session.last_sequence) == ("completed", len(whole))


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

    event_names = await ended(session, await recovered(session))

    assert event_names == ["start", "hitl", "failed", "error", "end"]
    assert (await run_sync(payload, session, "error"))["errorType"] == "TimeoutError"


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
