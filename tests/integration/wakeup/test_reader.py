"""The one reader: waiters cost one statement a second together, and hear what no wake-up said."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from dwp_project import offload
from dwp_project.offload import run_sync
from dwp_project.wakeup import READ_SECONDS, hub, reader
from hitl import services, waiting
from hitl.models import ApprovalRequest
from streaming import log, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Session, SessionStatus
from tests import factories
from tests.integration.exchange import Exchange
from tests.integration.frames import take
from tests.integration.outages import no_database
from tests.people import REQUESTER

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub"),
]

# The module: the package offers its function under the same name.
reader_module: Any = importlib.import_module("dwp_project.wakeup.reader")

HEARTBEAT = b": keep-alive\n\n"
# Within so many seconds the reader notices what no wake-up has said.
READ_WITHIN = 3 * READ_SECONDS


def begun_elsewhere() -> Session:
    """Return a session with one event that another process runs."""
    session = sessions.begin(
        sessions.Prompt("x"), tenant_id=REQUESTER.tenant_id, user_id=REQUESTER.user_id
    )
    log.append(session.pk, [content("a")], after=0, lease=1)
    return session


def content(text: str) -> AgentEvent:
    return AgentEvent("content", {"content": text, "chunk": True})


def stream_of(session: Session) -> Exchange:
    return Exchange("GET", f"/aura/sessions/{session.session_id}/stream", REQUESTER)


async def sends_what_is_written_elsewhere(sse: Exchange, session: Session) -> None:
    await sse.start()
    await take(sse, until="content")

    await run_sync(log.append, session.pk, [content("b")], after=1, lease=1)

    async with asyncio.timeout(READ_WITHIN):
        [second] = await take(sse, until="content")
    assert second.data["content"] == "b"


async def heartbeats(sse: Exchange, count: int) -> None:
    received = b""
    while received.count(HEARTBEAT) < count:
        received += await sse.piece()


@pytest.fixture
def no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every process die between its commits and their wake-ups."""
    monkeypatch.setattr("streaming.log._wake_streams", lambda *args, **kwargs: None)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that async code sends to the database, from any thread."""
    sent: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        sent.append(sql)
        return execute(sql, *args)

    def submit(pool: ThreadPoolExecutor, function: Callable[[], Any]) -> Future[Any]:
        def call() -> Any:
            with connection.execute_wrapper(note):
                return function()

        return without(pool, call)

    without = offload._submit
    monkeypatch.setattr(offload, "_submit", submit)
    return sent


@pytest.mark.parametrize("count", [1, 200])
async def test_any_number_of_waiters_costs_one_statement_a_second_for_each_table(
    redis_client: redis.Redis,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    statements: list[str],
    count: int,
) -> None:
    monkeypatch.setattr(reader_module, "READ_SECONDS", 3600)  # the seconds are the test's
    settings.SSE_HEARTBEAT_SECONDS = 0.5
    requests = [await run_sync(factories.opened) for _ in range(count)]
    watched = [await run_sync(begun_elsewhere) for _ in range(count)]
    async with AsyncExitStack() as stack:
        waits = [asyncio.create_task(waiting.until_ended(one.request_id)) for one in requests]
        streams = [await stack.enter_async_context(stream_of(one)) for one in watched]
        await asyncio.gather(*(sse.start() for sse in streams))
        await asyncio.gather(*(heartbeats(sse, 1) for sse in streams))
        statements.clear()

        for _ in range(5):
            await reader(waiting.AWAITED).read()
            await reader(log.AWAITED).read()
        await asyncio.gather(*(heartbeats(sse, 2) for sse in streams))

        assert len(statements) == 10
        for wait in waits:
            wait.cancel()


async def test_nobody_who_waits_costs_no_statement(statements: list[str]) -> None:
    await reader(log.AWAITED).read()

    assert statements == []


async def test_stream_sends_what_a_process_committed_before_it_died(
    redis_client: redis.Redis, no_wakeups: None
) -> None:
    session = await run_sync(begun_elsewhere)
    async with stream_of(session) as sse:
        await sends_what_is_written_elsewhere(sse, session)
        end = [AgentEvent("end", {"message": "", "status": "completed"})]
        await run_sync(
            log.append, session.pk, end, after=2, lease=1, ending=SessionStatus.COMPLETED
        )
        async with asyncio.timeout(READ_WITHIN):
            rest = await sse.rest()

    assert rest.endswith(b"data: [DONE]\n\n")


async def test_stream_without_redis_sends_what_another_process_committed(
    redis_away: None, no_wakeups: None
) -> None:
    session = await run_sync(begun_elsewhere)
    async with stream_of(session) as sse:
        await sends_what_is_written_elsewhere(sse, session)


async def test_wait_ends_when_its_request_is_deleted(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    wait = asyncio.create_task(waiting.until_ended(request.request_id))
    await asyncio.sleep(0.2)

    await run_sync(ApprovalRequest.objects.filter(pk=request.pk).delete)

    async with asyncio.timeout(READ_WITHIN):
        with pytest.raises(ApprovalRequest.DoesNotExist):
            await wait


async def test_reader_goes_on_after_the_database_was_away(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    wait = asyncio.create_task(waiting.until_ended(request.request_id))
    await asyncio.sleep(0.2)
    with no_database():
        await asyncio.sleep(1.5 * READ_SECONDS)
        assert not wait.done()

    await run_sync(factories.decided_elsewhere, request)

    async with asyncio.timeout(READ_WITHIN):
        assert (await wait).decided_by == "elsewhere"


async def test_reader_reads_more_rows_than_one_statement_takes(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    monkeypatch.setattr(reader_module, "_SLICE", 2)
    requests = [await run_sync(factories.opened) for _ in range(5)]
    await run_sync(services.cancel, requests[4].request_id, factories.actor())
    async with AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(hub().subscribe(str(n))) for n in range(5)]
        for request, ear in zip(requests, ears, strict=True):
            stack.enter_context(reader(waiting.AWAITED).awaiting(request.pk, 0, ear))
        statements.clear()

        await reader(waiting.AWAITED).read()

        assert len(statements) == 3
        assert await ears[4].next(0) == b""
        assert [await ear.next(0) for ear in ears[:4]] == [None] * 4


async def test_waiter_who_has_not_read_yet_is_not_woken_again(redis_client: redis.Redis) -> None:
    request = await run_sync(factories.opened)
    await run_sync(services.cancel, request.request_id, factories.actor())
    async with hub().subscribe("topic") as ear:
        await ear.confirmed(5)
        with reader(waiting.AWAITED).awaiting(request.pk, 0, ear):
            for _ in range(3):
                await reader(waiting.AWAITED).read()

            assert [await ear.next(0), await ear.next(0)] == [b"", None]
