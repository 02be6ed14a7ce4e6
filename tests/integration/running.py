"""Following a session that runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming.models import Event, Session
from tests import factories
from tests.integration.polling import until
from tests.integration.small_agents import names

SOON = 10.0


async def ended(session: Session, task: asyncio.Task[None], within: float = SOON) -> list[str]:
    """Wait for the session's end and return the names of its events."""
    async with asyncio.timeout(within):
        await task
    await run_sync(session.refresh_from_db)
    assert session.ended_at is not None
    return await run_sync(names, session)


async def question() -> ApprovalRequest:
    """Return the session's question, once it is asked."""
    await until(ApprovalRequest.objects.pending().exists, within=SOON)
    return await run_sync(ApprovalRequest.objects.pending().get)


async def fields(session: Session, name: str) -> dict[str, Any]:
    """Return `data` of the session's one event of that name."""
    event = await run_sync(Event.objects.get, session=session, name=name)
    data = json.loads(event.payload)["data"]
    assert isinstance(data, dict)
    return data


async def approve_all(task: asyncio.Task[None]) -> None:
    """Say yes to every question until the session is over."""
    async with asyncio.timeout(SOON):
        while not task.done():
            for request in await run_sync(lambda: list(ApprovalRequest.objects.pending())):
                await run_sync(services.approve, request.request_id, factories.actor())
            await asyncio.sleep(0.02)
