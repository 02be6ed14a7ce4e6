"""Decisions whose signal was not sent, and relays that send it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError

from dwp_project import clocks
from dwp_project.wakeup import hub
from hitl import services
from hitl.delivery import relay
from hitl.models import OutboxEntry
from tests import factories

SESSION = "session-relayed"


def decided_and_died(
    monkeypatch: pytest.MonkeyPatch, session_id: str = SESSION, **kwargs: Any
) -> OutboxEntry:
    with monkeypatch.context() as patch:
        patch.setattr(services, "_publish_signal", lambda entry: None)
        request = factories.opened(session_id)
        services.approve(request.request_id, factories.actor(), **kwargs)
    return OutboxEntry.objects.get(request=request)


def stored(client: redis.Redis, key: str) -> Any:
    return json.loads(str(client.get(key)))


def make_due() -> None:
    OutboxEntry.objects.pending().update(due_at=clocks.now())


def turn() -> OutboxEntry:
    """Have a relay take what is pending, due or not, and return the one entry."""
    make_due()
    with suppress(RedisError):
        relay.send_due()
    return OutboxEntry.objects.get()


@asynccontextmanager
async def relaying() -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
        assert not task.done(), "the relay has ended"
    finally:
        task.cancel()
        await asyncio.wait([task])
        await hub().close()
