"""What is another tenant's takes the work of what does not exist: else the time tells."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from redis.connection import AbstractConnection

from dwp_project import background, clocks
from dwp_project.offload import run_sync
from hitl import services
from hitl.adoption import adopt
from hitl.approvals import foreign as foreign_decisions
from hitl.models import AuditRecord
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Answer
from tests.integration.exchange import Exchange
from tests.integration.polling import until
from tests.people import OUTSIDER

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub"),
]

# As long as each other: only what is done differs.
FOREIGN, UNKNOWN = "id-foreign", "id-unknown"


class Work:
    """Every statement and every command to Redis since it was last taken, of whatever thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._done: list[str] = []
        execute: Any = CursorWrapper.execute
        send: Any = AbstractConnection.send_packed_command

        def note_statement(cursor: Any, sql: Any, params: Any = None) -> Any:
            if '"' in str(sql):  # others prepare a connection
                self._done.append(str(sql))
            return execute(cursor, sql, params)

        def note_command(connection: Any, command: Any, *args: Any, **options: Any) -> Any:
            text = b"".join(command if isinstance(command, list) else [command])
            self._done.append(text.decode("utf-8", "replace").replace(FOREIGN, UNKNOWN))
            return send(connection, command, *args, **options)

        monkeypatch.setattr(CursorWrapper, "execute", note_statement)
        monkeypatch.setattr(AbstractConnection, "send_packed_command", note_command)

    def take(self) -> list[str]:
        done, self._done = self._done, []
        return done


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis) -> Work:
    return Work(monkeypatch)


def _pending() -> None:
    factories.opened(FOREIGN, request_id=FOREIGN)


def _overdue() -> None:
    factories.opened(FOREIGN, request_id=FOREIGN, now=timezone.now() - timedelta(days=1))


def _signalled() -> None:
    _pending()
    services.approve(FOREIGN, factories.actor())


def _cancelled() -> None:
    _pending()
    services.cancel(FOREIGN, factories.actor())


def _adopted(client: redis.Redis) -> None:
    redis_agents.asks(client, FOREIGN, FOREIGN)
    adopt.adopt_request(FOREIGN)


@pytest.fixture(params=["pending", "overdue", "signalled", "cancelled", "adopted"])
async def foreign(request: pytest.FixtureRequest, redis_client: redis.Redis) -> None:
    """Make a request of another tenant in each state, of the same id as its session."""
    makers: dict[str, Any] = {
        "pending": _pending,
        "overdue": _overdue,
        "signalled": _signalled,
        "cancelled": _cancelled,
        "adopted": lambda: _adopted(redis_client),
    }
    await run_sync(makers[request.param])


async def done_for(work: Work, method: str, path: str) -> tuple[Any, list[str], list[str]]:
    """Return what is answered, what is done until then, and what right after it: the next request
    waits for that."""
    exchange = Exchange(method, path, OUTSIDER, b"{}" if method == "POST" else b"")
    done: list[str] = []
    put = exchange._outbox.put

    async def note_last(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            done.extend(work.take())
        await put(message)

    exchange._outbox.put = note_last  # type: ignore[method-assign, assignment]
    work.take()
    async with exchange:
        status, headers = await exchange.start()
        answer = Answer(status, headers, await exchange.rest())
    return answer.facts, done, work.take()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/aura/hitl/requests/{}"),
        ("GET", "/aura/hitl/requests/{}/wait?timeout=1"),
        ("GET", "/aura/hitl/requests?sessionId={}"),
        ("GET", "/aura/hitl/signals/{}"),
        ("GET", "/aura/sessions/{}/stream"),
        ("POST", "/aura/sessions/{}/cancel"),
        ("POST", "/aura/hitl/approve/{}"),
        ("POST", "/aura/hitl/reject/{}"),
        ("POST", "/aura/hitl/requests/{}/cancel"),
    ],
)
async def test_foreign_id_takes_the_work_of_an_unknown_one(
    foreign: None, work: Work, method: str, path: str
) -> None:
    await done_for(work, method, path.format(UNKNOWN))  # connections are made

    unknown = await done_for(work, method, path.format(UNKNOWN))
    their = await done_for(work, method, path.format(FOREIGN))
    malformed = await done_for(work, method, path.format("a%00b"))

    assert their == unknown
    assert unknown[1]
    assert malformed[1:] == ([], [])


async def test_foreign_decision_is_audited_later_with_the_time_of_the_try(
    redis_client: redis.Redis, work: Work
) -> None:
    await run_sync(_pending)

    before = clocks.estimate()
    await done_for(work, "POST", f"/aura/hitl/approve/{FOREIGN}")
    await done_for(work, "POST", f"/aura/hitl/reject/{UNKNOWN}")
    after = clocks.estimate()
    assert not await run_sync(_refused)

    await run_sync(foreign_decisions.write_waiting)
    await run_sync(foreign_decisions.write_waiting)

    [refused] = await run_sync(_refused)
    assert (refused.tenant_id, refused.request_id) == ("", FOREIGN)
    assert before <= refused.at <= after


async def test_foreign_decision_is_audited_by_itself(
    redis_client: redis.Redis, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_decisions, "_DELAY_SECONDS", (0.01, 0.02))
    await run_sync(_pending)

    await done_for(work, "POST", f"/aura/hitl/approve/{FOREIGN}")

    await until(lambda: bool(_refused()), within=10)


async def test_foreign_decisions_that_wait_are_looked_up_at_once(
    redis_client: redis.Redis, work: Work
) -> None:
    for name in (*(f"id-{number}" for number in range(5)), UNKNOWN):
        await done_for(work, "POST", f"/aura/hitl/approve/{name}")
    work.take()

    await run_sync(foreign_decisions.write_waiting)

    assert len(work.take()) == 1


async def test_foreign_decisions_that_wait_are_audited_when_the_process_ends(
    redis_client: redis.Redis, work: Work
) -> None:
    await run_sync(_pending)
    loops = asyncio.create_task(background.run())
    await done_for(work, "POST", f"/aura/hitl/approve/{FOREIGN}")

    loops.cancel()
    await asyncio.wait({loops})

    assert len(await run_sync(_refused)) == 1


async def test_foreign_decision_waits_while_the_database_is_away(
    redis_client: redis.Redis, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_sync(_pending)
    await done_for(work, "POST", f"/aura/hitl/approve/{FOREIGN}")

    with monkeypatch.context() as away:
        away.setattr(foreign_decisions, "_write", _fail)
        await run_sync(foreign_decisions.write_waiting)
    await run_sync(foreign_decisions.write_waiting)

    assert len(await run_sync(_refused)) == 1


async def test_foreign_decisions_that_wait_are_bounded(
    redis_client: redis.Redis, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_decisions, "_MOST", 3)
    await run_sync(_pending)

    for name in (FOREIGN, FOREIGN, *(f"id-{number}" for number in range(5))):
        await done_for(work, "POST", f"/aura/hitl/approve/{name}")

    assert len(foreign_decisions.waiting.take()) == 3


async def test_decision_is_audited_though_its_client_leaves_at_once(
    redis_client: redis.Redis, work: Work
) -> None:
    await run_sync(_pending)
    work.take()

    async with Exchange("POST", f"/aura/hitl/approve/{FOREIGN}", OUTSIDER, b"{}"):
        # The thread has begun: what has not is dropped, and decides nothing.
        while not work.take():  # noqa: ASYNC110 - a statement sets no event
            await asyncio.sleep(0.001)

    await until(lambda: bool(foreign_decisions.waiting), within=10)
    await run_sync(foreign_decisions.write_waiting)
    assert len(await run_sync(_refused)) == 1


def _refused() -> list[AuditRecord]:
    return list(AuditRecord.objects.filter(event="decision:refused"))


def _fail(*args: Any) -> None:
    raise OperationalError("the database is away")
