"""How sessions end: the orders of events in docs/reference/wire.md, 4.4."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest, AuditRecord
from streaming import final_events, sessions
from streaming.agents.base import AgentEvent
from streaming.models import SessionStatus
from tests import factories
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.integration.running import SOON, ended, fields, question
from tests.integration.small_agents import (
    Asker,
    Broken,
    Inventive,
    Swallower,
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


async def test_question_is_sent_as_the_contract_says(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    sent = await fields(session, "hitl")
    await run_sync(services.approve, asked.request_id, factories.actor())
    await ended(session, task)

    assert asked.request_id.startswith("req_")
    assert sent == {
        "requestId": asked.request_id,
        "sessionId": session.session_id,
        "actionType": "delete_mail",
        "message": "1?",
        "context": {"count": 1},
        "params": {"count": 1},
        "requiresApproval": True,
        "expiresAt": int(asked.expires_at.timestamp() * 1000),
        "confidence": 0.9,
        "stepId": "step-1",
        "id": asked.request_id,
        "action": "delete_mail",
    }
    assert asked.expires_at - asked.created_at == timedelta(seconds=300)
    opening = await run_sync(AuditRecord.objects.get, event="request:opened")
    assert (opening.actor, opening.actor_kind, opening.channel) == ("user123", "agent", "stream")


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


@pytest.mark.parametrize("then", ["go on", "end", "ask again"])
async def test_agent_that_swallows_a_refusal_is_stopped(settings: Settings, then: str) -> None:
    configure(settings, Swallower, then=then)
    session, task = await begun()
    asked = await question()

    await run_sync(services.reject, asked.request_id, factories.actor(), reason="no")

    assert await ended(session, task) == ["start", "hitl", "error"]
    assert session.status == "rejected"
    assert await run_sync(ApprovalRequest.objects.count) == 1


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


async def test_two_questions_are_asked_one_after_the_other(settings: Settings) -> None:
    configure(settings, Asker, times=2)
    session, task = await begun()
    first = await question()
    await run_sync(services.approve, first.request_id, factories.actor())
    second = await question()
    assert second.request_id != first.request_id

    await run_sync(services.reject, second.request_id, factories.actor())

    assert await ended(session, task) == ["start", "hitl", "tool_execution", "hitl", "error"]


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

    found = await ended(session, task)
    assert found[-2:] == ["error", "end"]
    assert session.last_sequence == len(found)


async def test_question_is_asked_and_answered_with_redis_away(
    settings: Settings, redis_away: None
) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await run_sync(services.approve, asked.request_id, factories.actor())

    assert (await ended(session, task))[-1] == "end"
    assert session.status == "completed"


async def test_overdue_question_of_a_running_session_ends_it_whoever_expires_it(
    settings: Settings,
) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await run_sync(services.expire_overdue, now=timezone.now() + timedelta(seconds=301))

    assert await ended(session, task) == ["start", "hitl", "failed", "error", "end"]
    await run_sync(asked.refresh_from_db)
    assert asked.status == "expired"
