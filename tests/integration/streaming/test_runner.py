"""How sessions end: the orders of events in docs/reference/wire.md, 4.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import final_events, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Session, SessionStatus
from tests import factories
from tests.integration.outages import frozen_redis
from tests.integration.polling import until
from tests.integration.running import SOON, ended, fields, question
from tests.integration.small_agents import (
    Asker,
    Broken,
    Inventive,
    Talker,
    Tireless,
    Unspeakable,
    begun,
    configure,
    names,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


async def test_session_without_a_question_completes(settings: Settings) -> None:
    configure(settings, Talker)

    session, task = await begun("안녕")

    assert await ended(session, task) == ["start", "content", "content", "content", "end"]
    assert session.status == "completed"
    assert (await fields(session, "end"))["status"] == "completed"


async def test_approved_question_lets_the_agent_go_on(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()
    assert await run_sync(names, session) == ["start", "hitl"]

    await run_sync(services.approve, asked.request_id, factories.actor())

    assert await ended(session, task) == ["start", "hitl", "tool_execution", "content", "end"]
    assert session.status == "completed"
    assert (await fields(session, "tool_execution"))["result"] == "approver1"


async def test_rejected_question_stops_the_agent(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await run_sync(services.reject, asked.request_id, factories.actor(), reason="아직 아님")

    # No `end`: clients of the contract know a rejection by its `error` alone.
    assert await ended(session, task) == ["start", "hitl", "error"]
    assert session.status == "rejected"
    error = await fields(session, "error")
    assert (error["error"], error["errorType"]) == ("아직 아님", "RejectionError")


async def test_question_that_nobody_answers_fails_the_session(settings: Settings) -> None:
    configure(settings, Asker, timeout_seconds=1)
    session, task = await begun()
    asked = await question()

    assert await ended(session, task) == ["start", "hitl", "failed", "error", "end"]

    assert session.status == "failed"
    failed, error = await fields(session, "failed"), await fields(session, "error")
    assert failed["requestId"] == asked.request_id
    assert failed["sessionId"] == session.session_id
    assert (failed["errorType"], error["errorType"]) == ("TimeoutError", "TimeoutError")
    assert (await fields(session, "end"))["status"] == "failed"
    await run_sync(asked.refresh_from_db)
    assert asked.status == "expired"


async def test_agent_that_fails_ends_its_session(settings: Settings) -> None:
    configure(settings, Broken)

    session, task = await begun()

    assert await ended(session, task) == ["start", "content", "error", "end"]
    assert session.status == "failed"
    error = await fields(session, "error")
    assert (error["error"], error["errorType"]) == ("the mailbox is gone", "LookupError")
    assert (await fields(session, "end"))["status"] == "failed"


async def test_agent_that_fails_with_an_unspeakable_text_ends_its_session(
    settings: Settings,
) -> None:
    configure(settings, Unspeakable)

    session, task = await begun()

    assert await ended(session, task) == ["start", "error", "end"]
    assert session.status == "failed"
    error = (await fields(session, "error"))["error"]
    assert error.startswith("gone: ?x")
    assert len(error) == 2000


async def test_closing_events_that_are_refused_are_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(settings, Talker)
    odd = AgentEvent("end", {"message": "\ud800", "status": "completed"})
    monkeypatch.setattr(final_events, "completed", lambda: ([odd], SessionStatus.COMPLETED))

    session, task = await begun()

    assert (await ended(session, task))[-2:] == ["error", "end"]
    assert session.status == "failed"


async def test_agent_that_invents_an_event_ends_its_session(settings: Settings) -> None:
    configure(settings, Inventive)

    session, task = await begun()

    assert await ended(session, task) == ["start", "error", "end"]
    assert session.status == "failed"


# --- sessions that somebody cancels --------------------------------------------------------


async def cancel_session(session: Session, asked: ApprovalRequest) -> None:
    await run_sync(sessions.cancel, session.session_id, factories.actor())


async def cancel_request(session: Session, asked: ApprovalRequest) -> None:
    await run_sync(services.cancel, asked.request_id, factories.actor())


@pytest.mark.parametrize("cancel", [cancel_session, cancel_request])
async def test_session_cancelled_while_it_waits_fails(
    settings: Settings, cancel: Callable[[Session, ApprovalRequest], Any]
) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await cancel(session, asked)

    assert await ended(session, task) == ["start", "hitl", "error", "end"]
    assert session.status == "cancelled"
    assert (await fields(session, "error"))["errorType"] == "CancelledError"
    assert (await fields(session, "end"))["status"] == "failed"
    await run_sync(asked.refresh_from_db)
    assert asked.status == "cancelled"


@pytest.mark.parametrize("stubborn", [False, True])
async def test_session_cancelled_while_it_works_ends(settings: Settings, stubborn: bool) -> None:
    configure(settings, Tireless, stubborn=stubborn)
    session, task = await begun()
    await until(lambda: len(names(session)) > 3, within=SOON)

    await run_sync(sessions.cancel, session.session_id, factories.actor())

    # A stubborn agent has five seconds to end; three times that is the bound.
    event_names = await ended(session, task, within=15)
    assert event_names[-2:] == ["error", "end"]
    assert set(event_names[1:-2]) == {"thought"}
    assert session.status == "cancelled"


async def test_session_cancelled_while_redis_is_frozen_ends(settings: Settings) -> None:
    # A thought every 1.5 s: each one's wake-up hangs for a second after its commit.
    configure(settings, Tireless, pause=1.5)
    with frozen_redis(settings):
        session, task = await begun()
        await until(lambda: len(names(session)) == 3, within=SOON)
        await run_sync(sessions.cancel, session.session_id, factories.actor())

        assert (await ended(session, task))[-2:] == ["error", "end"]
    assert session.status == "cancelled"
