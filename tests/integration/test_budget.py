"""What calls and waiting ask of PostgreSQL and Redis, exactly.

Whoever changes a cost edits `BUDGET`: a test that fails prints what it measured as it is written
there. Nothing runs beside what is measured, and minutes are those of a clock that leaps.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis
from django.db import connection, connections
from pytest_django import Settings

from dwp_project.offload import run_sync
from dwp_project.wakeup import hub
from hitl.delivery import held, relay
from hitl.delivery.redis_clock import redis_clock
from hitl.models import OutboxEntry
from streaming import runner, sessions
from tests.integration.calls import Answer
from tests.integration.counting import Cost, Counted, counting
from tests.integration.exchange import Exchange, stream
from tests.integration.leaping import LeapingClock
from tests.integration.small_agents import Asker, configure
from tests.people import APPROVER, REQUESTER, TENANT, Person
from tests.services import services

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("agents_reset"),
    pytest.mark.skipif(services.database != "postgres", reason="SQLite has no round trips"),
]

BUDGET = {
    # Calls over HTTP, with all that follows before the request's thread is free again.
    "open": Cost(sql=3, statements=11, redis=2, commands=3),
    "read": Cost(sql=1, statements=1, redis=0, commands=0),
    "list": Cost(sql=1, statements=1, redis=0, commands=0),
    "approve": Cost(sql=4, statements=11, redis=2, commands=3),
    "reject": Cost(sql=4, statements=11, redis=2, commands=3),
    "withdraw": Cost(sql=4, statements=10, redis=3, commands=3),
    # What waits. 20 commands a minute are the pings of the process's one connection for wake-ups.
    # An exchange without a statement tries a connection that was idle for a second.
    "stream, idle minute": Cost(sql=120, statements=60, redis=20, commands=20),
    "200 streams, idle minute": Cost(sql=120, statements=60, redis=20, commands=20),
    "wait, a minute in vain": Cost(sql=122, statements=64, redis=22, commands=22),
    "agent that waits, idle minute": Cost(sql=180, statements=100, redis=20, commands=20),
    "relay, idle minute": Cost(sql=222, statements=142, redis=111, commands=191),
    # Its attempts are counted instead of what Redis is asked: Redis's own clock does not leap, and
    # is read as often as the test takes seconds.
    "an unheard decision, 5 minutes": Cost(sql=1342, statements=943, redis=0, commands=0),
}
ATTEMPTS = 81

REQUESTS = "/aura/hitl/requests"
CANCEL = f"{REQUESTS}/{{}}/cancel"
# How often a call is made before it is counted: connections, scripts and caches are there then.
_WARM_UP = 3
# How long after something began a minute of it is counted: no timer ends with that minute.
_ASIDE_SECONDS = 1.3


class Application:
    """The application behind proxies that count."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._opened = 0

    async def cost_of(self, step: Coroutine[Any, Any, object]) -> Cost:
        before = self._counted.cost
        await step
        return self._counted.cost - before

    async def call(self, method: str, path: str, by: Person, body: object = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        async with Exchange(method, path, by, content, headers) as exchange:
            status, answered = await exchange.start(within=90)
            answer = Answer(status, answered, await exchange.rest())
        assert status in (200, 201, 202), answer
        return answer

    async def open(self) -> str:
        """Open a request in a session of its own; return its id."""
        self._opened += 1
        session_id = f"budget-{self._opened}"
        body = {"sessionId": session_id, "actionType": "pay_invoice", "context": {"amount": 100}}
        answer = await self.call("POST", REQUESTS, REQUESTER, body)
        return str(answer.data["requestId"])

    async def cost_of_call(self, method: str, path: str, by: Person) -> Cost:
        """Return what a call costs on a new request, whose id is put into `path`."""
        for _ in range(_WARM_UP):
            await self.call(method, path.format(await self.open()), by)
        request_id = await self.open()
        await run_sync(relay.send_due)
        return await self.cost_of(self.call(method, path.format(request_id), by))

    async def cost_of_opening(self) -> Cost:
        for _ in range(_WARM_UP):
            await self.open()
        await run_sync(relay.send_due)
        return await self.cost_of(self.open())

    async def cost_of_minute(self) -> Cost:
        """Return what a minute costs in which nothing happens."""
        await asyncio.sleep(_ASIDE_SECONDS)
        return await self.cost_of(asyncio.sleep(60))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeapingClock:
    """Return the clock on which the test and the application run."""
    clock = LeapingClock()
    # Redis's own clock does not leap, and a publication is refused if it seems to go back.
    monkeypatch.setattr(redis_clock, "uptime", partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def anyio_backend(clock: LeapingClock) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": clock.loop}


@pytest.fixture
def counted(
    settings: Settings, redis_client: redis.Redis, clock: LeapingClock
) -> Iterator[Counted]:
    with counting(settings) as counted:
        clock.is_answer_awaited = counted.is_answer_awaited
        yield counted


@pytest.fixture
def logged(counted: Counted) -> Iterator[None]:
    """Have the server log each statement of new connections."""
    one: Any = connections["default"]
    with one.cursor() as cursor:
        cursor.execute("SELECT size FROM pg_stat_file('log', true)")
        if cursor.fetchone() == (None,):
            pytest.skip("the log of this server is elsewhere")
        change = f"ALTER DATABASE {one.ops.quote_name(one.settings_dict['NAME'])}"
        cursor.execute(f"{change} SET log_statement = 'all'")
    one.close()
    one.close_pool()
    yield
    with one.cursor() as cursor:
        cursor.execute(f"{change} RESET log_statement")


@pytest.fixture
async def application(counted: Counted) -> AsyncIterator[Application]:
    yield Application(counted)
    await runner.release_all()
    await hub().close()


async def test_calls_keep_to_the_budget(application: Application) -> None:
    assert_in_budget(
        {
            "open": await application.cost_of_opening(),
            "read": await application.cost_of_call("GET", f"{REQUESTS}/{{}}", REQUESTER),
            "list": await application.cost_of_call("GET", REQUESTS, REQUESTER),
            "approve": await application.cost_of_call("POST", "/aura/hitl/approve/{}", APPROVER),
            "reject": await application.cost_of_call("POST", "/aura/hitl/reject/{}", APPROVER),
            "withdraw": await application.cost_of_call(
                "POST", f"{REQUESTS}/{{}}/cancel", REQUESTER
            ),
        }
    )


@pytest.mark.usefixtures("logged")
async def test_database_logs_as_many_exchanges_as_are_counted(application: Application) -> None:
    request_id = await application.open()
    begins = await run_sync(_size_of_log)

    cost = await application.cost_of(
        application.call("POST", f"/aura/hitl/approve/{request_id}", APPROVER)
    )

    assert (await run_sync(_logged_since, begins)) == cost.sql > 0


@pytest.mark.parametrize(("name", "watchers"), [("stream", 1), ("200 streams", 200)])
async def test_idle_streams_keep_to_the_budget(
    application: Application, name: str, watchers: int
) -> None:
    names = {"tenant_id": TENANT, "user_id": REQUESTER.user_id}
    session = await run_sync(sessions.begin, sessions.Prompt("Wait"), **names)
    async with AsyncExitStack() as watching:
        for _ in range(watchers):
            url = f"/aura/sessions/{session.session_id}/stream"
            await watching.enter_async_context(stream(url, REQUESTER))

        assert_in_budget({f"{name}, idle minute": await application.cost_of_minute()})


async def test_waits_keep_to_the_budget(application: Application) -> None:
    path = f"{REQUESTS}/{{}}/wait?timeout=60"

    assert_in_budget(
        {"wait, a minute in vain": await application.cost_of_call("GET", path, REQUESTER)}
    )


async def test_agents_that_wait_keep_to_the_budget(
    application: Application, settings: Settings
) -> None:
    configure(settings, Asker)
    async with stream("/aura/test/stream?message=test", REQUESTER) as sse:
        while b"event: hitl" not in await sse.piece():
            pass

    assert_in_budget({"agent that waits, idle minute": await application.cost_of_minute()})


async def test_relays_keep_to_the_budget(application: Application) -> None:
    async def decide_unheard() -> None:
        await application.call("POST", f"/aura/hitl/approve/{request_id}", APPROVER)
        await asyncio.sleep(300 + held.LONGEST_PAUSE + _ASIDE_SECONDS)

    for _ in range(_WARM_UP):
        request_id = await application.open()
    relaying = asyncio.create_task(relay.run())
    try:
        await asyncio.sleep(10)
        idle = await application.cost_of_minute()
        unheard = await application.cost_of(decide_unheard())
    finally:
        relaying.cancel()
        await asyncio.wait([relaying])

    unheard = replace(unheard, redis=0, commands=0)
    assert_in_budget({"relay, idle minute": idle, "an unheard decision, 5 minutes": unheard})
    entry = await run_sync(OutboxEntry.objects.get)
    assert (entry.outcome, entry.attempts) == ("unheard", ATTEMPTS)


def _size_of_log() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT size FROM pg_stat_file('log')")
        return int(cursor.fetchone()[0])


def _logged_since(size: int) -> int:
    """Return how many exchanges with statements the server has logged since, but for this one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_read_file('log', %s, 10000000)", [size])
        text = str(cursor.fetchone()[0])
    return text.count("LOG:  statement: ") - 1


def assert_in_budget(measured: Mapping[str, Cost]) -> None:
    lines = "".join(f'    "{name}": {cost!r},\n' for name, cost in measured.items())
    assert measured == {name: BUDGET.get(name) for name in measured}, f"measured:\n{lines}"
