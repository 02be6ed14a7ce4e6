"""The gate of a session: asks once, and lets an agent act on a yes alone (docs/adr/0013)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from streaming.gate import SessionGate
from streaming.log import LeaseLost
from streaming.models import Session
from streaming.writer import Writer
from tests import factories
from tests.integration.events import begin
from tests.integration.running import ended, fields, question
from tests.integration.small_agents import (
    Asker,
    Swallower,
    begun,
    configure,
    names,
)
from tests.integration.takeovers import Rash, stops, taken_elsewhere

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


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


@pytest.mark.parametrize("then", ["go on", "end", "ask again"])
async def test_agent_that_swallows_a_refusal_is_stopped(settings: Settings, then: str) -> None:
    configure(settings, Swallower, then=then)
    session, task = await begun()
    asked = await question()

    await run_sync(services.reject, asked.request_id, factories.actor(), reason="no")

    assert await ended(session, task) == ["start", "hitl", "error"]
    assert session.status == "rejected"
    assert await run_sync(ApprovalRequest.objects.count) == 1


async def test_two_questions_are_asked_one_after_the_other(settings: Settings) -> None:
    configure(settings, Asker, times=2)
    session, task = await begun()
    first = await question()
    await run_sync(services.approve, first.request_id, factories.actor())
    second = await question()
    assert second.request_id != first.request_id

    await run_sync(services.reject, second.request_id, factories.actor())

    assert await ended(session, task) == ["start", "hitl", "tool_execution", "hitl", "error"]


@pytest.mark.parametrize("end", [services.approve, services.reject])
async def test_session_ends_only_when_it_is_noted_that_its_agent_has_heard(
    settings: Settings, end: Callable[..., object]
) -> None:
    configure(settings, Asker)
    _, task = await begun()
    asked = await question()

    await run_sync(end, asked.request_id, factories.actor())
    await task

    entry = await run_sync(OutboxEntry.objects.get)
    assert entry.heard_at is not None


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


# --- a gate whose process was taken for dead ---------------------------------------------


@pytest.mark.usefixtures("no_renewal")
async def test_zombie_opens_no_request(settings: Settings) -> None:
    configure(settings, Asker)
    session = await run_sync(begin)
    await run_sync(taken_elsewhere, session)
    # Its events are there as far as it knows; the question is the first it would add.
    session.last_sequence = 1
    await run_sync(lambda: Session.objects.update(last_sequence=1))

    gate = SessionGate(session, Writer(session.pk, lease=1, sequence=1))
    with pytest.raises(LeaseLost):
        await gate.ask("delete_mail", message="?")

    assert not await run_sync(ApprovalRequest.objects.exists)
    with pytest.raises(LeaseLost):
        gate.check()


@pytest.mark.usefixtures("no_renewal")
async def test_zombie_does_not_act_on_a_yes(settings: Settings, tmp_path: Path) -> None:
    configure(settings, Rash, path=str(tmp_path / "lines"))
    session, task = await begun()
    asked = await question()
    await run_sync(taken_elsewhere, session)

    await run_sync(services.approve, asked.request_id, factories.actor())

    await stops(task)
    assert await run_sync(names, session) == ["start", "hitl"]
    assert not (tmp_path / "lines").exists()


@pytest.mark.usefixtures("no_renewal")
async def test_yes_is_acted_on_though_the_lease_ran_out_if_nobody_took_it(
    settings: Settings,
) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()
    await run_sync(lambda: Session.objects.update(lease_expires_at=timezone.now()))

    await run_sync(services.approve, asked.request_id, factories.actor())

    assert (await ended(session, task))[-1] == "end"
