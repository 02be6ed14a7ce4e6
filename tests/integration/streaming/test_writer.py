"""A session's writer: waits for the database, obeys the lease, repeats nothing (docs/adr/0022)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import sessions
from streaming.models import Session
from tests import factories
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.integration.running import SOON, ended, question
from tests.integration.small_agents import (
    Swallower,
    Tireless,
    begun,
    configure,
    names,
)
from tests.integration.takeovers import (
    OTHER,
    Breaker,
    Parrot,
    Resumer,
    cut,
    dies,
    payload,
    recovered,
    stops,
    taken_elsewhere,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


async def test_events_wait_for_a_database_that_is_away(settings: Settings) -> None:
    configure(settings, Tireless)
    session, task = await begun()
    await until(lambda: len(names(session)) > 3, within=SOON)

    with no_database():
        await asyncio.sleep(0.5)
        assert not task.done()
    before = len(await run_sync(names, session))
    await until(lambda: len(names(session)) > before + 3, within=SOON)
    await run_sync(sessions.cancel, session.session_id, factories.actor())

    event_names = await ended(session, task)
    assert event_names[-2:] == ["error", "end"]
    assert session.last_sequence == len(event_names)


@pytest.mark.usefixtures("no_renewal")
async def test_zombie_writes_no_more(settings: Settings) -> None:
    configure(settings, Tireless)
    session, task = await begun()
    await until(lambda: len(names(session)) > 3, within=SOON)

    await run_sync(taken_elsewhere, session)
    # What was on its way before the lease went is there now.
    seen = await run_sync(names, session)

    await stops(task)
    assert await run_sync(names, session) == seen
    await run_sync(session.refresh_from_db)
    assert (session.status, session.lease_owner) == ("running", OTHER)


@pytest.mark.usefixtures("no_renewal")
async def test_zombie_that_swallows_it_all_writes_nothing(settings: Settings) -> None:
    configure(settings, Swallower, then="go on")
    session, task = await begun()
    asked = await question()
    await run_sync(taken_elsewhere, session)

    await run_sync(services.reject, asked.request_id, factories.actor())

    await stops(task)
    assert await run_sync(names, session) == ["start", "hitl"]


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

    event_names = await ended(session, await recovered(session))

    assert event_names[-3:] == ["failed", "error", "end"]
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

    event_names = await ended(session, await recovered(session))

    assert event_names == ["start", "hitl", "failed", "error", "end"]
    assert "LookupError: no mailbox" in (await run_sync(payload, session, "error"))["error"]
    await run_sync(asked.refresh_from_db)
    assert asked.status == "cancelled"
