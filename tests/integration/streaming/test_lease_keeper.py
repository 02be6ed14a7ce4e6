"""The leases of this process's sessions: renewed, noticed when lost, given away (docs/adr/0021)."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl.models import ApprovalRequest
from streaming import leases, recovery, runner
from streaming.lease_keeper import lease_keeper
from streaming.models import Session
from tests.integration.outages import no_database
from tests.integration.polling import until
from tests.integration.running import SOON, ended, question
from tests.integration.small_agents import Asker, Tireless, begun, configure, names
from tests.integration.takeovers import stops, taken_elsewhere

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]


async def test_renewal_stops_what_was_taken_over(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    other, other_task = await begun()
    await until(lambda: ApprovalRequest.objects.count() == 2, within=SOON)
    await run_sync(taken_elsewhere, session)

    await stops(task, within=3 * leases.RENEW_SECONDS)

    assert task.cancelled()
    assert await run_sync(names, session) == ["start", "hitl"]
    assert not other_task.done()
    assert runner.running_here() == [other.pk]


async def test_renewal_goes_on_after_the_database_was_away(settings: Settings) -> None:
    configure(settings, Asker)
    _, task = await begun()
    await question()
    with no_database():
        await lease_keeper().renew()
    await run_sync(lambda: Session.objects.update(lease_expires_at=timezone.now()))

    await lease_keeper().renew()

    assert await recovery.scan() == []
    assert not task.done()
    await run_sync(lambda: Session.objects.update(lease_expires_at=timezone.now()))
    # Its own sessions are never taken over a second time.
    assert await recovery.scan() == []


async def test_cancellation_that_was_not_told_is_noticed(settings: Settings) -> None:
    configure(settings, Tireless, pause=60)
    session, task = await begun()
    await until(lambda: len(names(session)) == 2, within=SOON)
    await run_sync(lambda: Session.objects.update(cancel_requested_at=timezone.now()))

    event_names = await ended(session, task, within=3 * leases.RENEW_SECONDS)

    assert event_names == ["start", "thought", "error", "end"]
    assert session.status == "cancelled"


# --- giving sessions away -----------------------------------------------------------------


async def test_released_sessions_stop_here_and_are_free(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await runner.release_all()
    await runner.release_all()

    assert task.cancelled()
    assert await run_sync(names, session) == ["start", "hitl"]
    await run_sync(asked.refresh_from_db)
    assert asked.status == "pending"
    await run_sync(session.refresh_from_db)
    assert (session.status, session.lease_owner, session.lease_number) == ("running", "", 2)
    assert await recovery.scan() == []
    [taken] = await run_sync(leases.take_over_expired, limit=50)
    assert taken.pk == session.pk


async def test_session_begun_while_draining_is_left_to_others(settings: Settings) -> None:
    configure(settings, Asker)
    await runner.release_all()

    session, task = await begun()
    await stops(task)

    assert await run_sync(names, session) == []
    assert [one.pk for one in await run_sync(leases.take_over_expired, limit=50)] == [session.pk]


async def test_stubborn_agent_does_not_hold_up_the_release(settings: Settings) -> None:
    configure(settings, Tireless, stubborn=True)
    session, _ = await begun()
    await until(lambda: len(names(session)) > 3, within=SOON)

    async with asyncio.timeout(9):
        await runner.release_all()

    seen = len(await run_sync(names, session))
    await asyncio.sleep(0.3)
    assert len(await run_sync(names, session)) == seen


async def test_release_gives_up_while_the_database_is_away(settings: Settings) -> None:
    configure(settings, Asker)
    session, _ = await begun()
    await question()

    began = time.monotonic()
    with no_database():
        await runner.release_all()

    assert time.monotonic() - began < 9
    assert runner.is_drained()
    await run_sync(session.refresh_from_db)
    assert session.lease_owner == leases.owner()
