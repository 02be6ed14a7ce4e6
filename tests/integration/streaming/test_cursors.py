"""Coming back at any cursor, while events are written and while old ones go (wire.md, 4.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import ClassVar

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from streaming import events, recovery, retention
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from streaming.models import Event, Session
from tests.integration.frames import whole
from tests.integration.polling import until
from tests.integration.running import SOON
from tests.integration.small_agents import Talker, begun, configure, said
from tests.integration.takeovers import dies

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

PIECES = 30


class Counter(Agent):
    """Counts, with a pause before each number."""

    can_resume: ClassVar[bool] = True

    def __init__(self, pause: float) -> None:
        super().__init__()
        self._pause = pause

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for number in range(PIECES):
            if number >= len(task.recorded):
                await asyncio.sleep(self._pause)
            yield said(str(number))


def url_of(session: Session) -> str:
    return f"/api/aura/sessions/{session.session_id}/stream"


@pytest.mark.parametrize("way", ["attach", "start"])
@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_every_cursor_gives_every_later_event_once(
    settings: Settings, way: str, is_taken_over: bool
) -> None:
    configure(settings, Counter, pause=0.05)
    session, task = await begun()
    url = url_of(session) if way == "attach" else "/api/aura/test/stream?message=test"
    readers: list[asyncio.Task[list[int]]] = []

    async def read(after: int) -> list[int]:
        cursor = events.event_id(session.pk, after)
        return [frame.id - cursor + after for frame in await whole(url, cursor=cursor)]

    def has_come(sequence: int) -> bool:
        return Session.objects.filter(pk=session.pk, last_sequence__gte=sequence).exists()

    for after in range(PIECES + 2):
        await until(lambda after=after: has_come(after), within=SOON)  # type: ignore[misc]
        readers.append(asyncio.create_task(read(after)))
        if is_taken_over and after == PIECES // 2:
            await dies(session, task)
            await recovery.scan()

    last = PIECES + 2  # with start and end
    for after, reader in enumerate(readers):
        assert await reader == list(range(after + 1, last + 1))
    assert await run_sync(Session.objects.count) == 1


# --- events that are no longer kept -------------------------------------------------------


async def grown_old(settings: Settings, sequence: int) -> Session:
    """Return a session that ended at 5, whose events up to `sequence` are no longer kept."""
    configure(settings, Talker)
    session, task = await begun()
    await task
    a_year_ago = timezone.now() - timedelta(days=365)
    old = Event.objects.filter(session=session, sequence__lte=sequence)
    await run_sync(old.update, created_at=a_year_ago)
    assert await run_sync(retention.remove_old) == sequence
    return session


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_cursor_older_than_what_is_kept_gets_a_reset_first(
    settings: Settings, after: int
) -> None:
    session = await grown_old(settings, 3)
    reset = events.event_id(session.pk, 3)
    urls = [url_of(session)]
    if after:  # without a cursor this is a new session
        urls.append("/api/aura/test/stream?message=test")

    for url in urls:
        cursor = events.event_id(session.pk, after) if after else None
        frames = await whole(url, cursor=cursor)

        found = [(frame.id - reset, frame.event) for frame in frames]
        assert found == [(0, "stream_reset"), (1, "content"), (2, "end")]
        assert frames[0].data["reason"] == frames[0].data["data"]["reason"] != ""
    assert [frame.event for frame in await whole(url_of(session), cursor=reset)] == [
        "content",
        "end",
    ]


async def test_ended_session_without_events_sends_a_reset_and_the_end(settings: Settings) -> None:
    session = await grown_old(settings, 5)

    assert [frame.event for frame in await whole(url_of(session))] == ["stream_reset"]
    # Who saw the last event has missed nothing.
    assert await whole(url_of(session), cursor=events.event_id(session.pk, 5)) == []
