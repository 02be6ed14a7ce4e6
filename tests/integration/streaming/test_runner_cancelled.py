"""Sessions that somebody cancels (docs/reference/wire.md, 4.1 and 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import sessions
from streaming.models import Session
from tests import factories
from tests.integration.outages import frozen_redis
from tests.integration.polling import until
from tests.integration.running import SOON, ended, fields, question
from tests.integration.small_agents import Asker, Tireless, begun, configure, names

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


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
    found = await ended(session, task, within=15)
    assert found[-2:] == ["error", "end"]
    assert set(found[1:-2]) == {"thought"}
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
