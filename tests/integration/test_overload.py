"""What callers get when every thread is taken (docs/reference/wire.md, 2: E5003)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.http import HttpRequest

from dwp_project import offload
from dwp_project.gateway import body, handler, views
from hitl.models import ApprovalRequest
from tests.integration.exchange import Exchange, call
from tests.integration.polling import until
from tests.people import REQUESTER

ASK = "/aura/hitl/requests"
BODY = b'{"requestId": "in-line", "sessionId": "s", "actionType": "pay", "message": "May I?"}'
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_client")]


class Work:
    """Calls that take as long as the test wants."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self._begun = threading.Semaphore(0)

    def __call__(self) -> None:
        self._begun.release()
        assert self.may_end.wait(30)

    async def begun(self) -> None:
        """Wait until one more call has begun."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=30)


@asynccontextmanager
async def every_thread_taken() -> AsyncIterator[Work]:
    """Leave no thread free; the block ends the work or its end does."""
    work = Work()
    calls = [
        asyncio.create_task(offload.run_request(work, seconds=30.0))
        for _ in range(offload.REQUEST_THREADS)
    ]
    try:
        for _ in calls:
            await work.begun()
        yield work
    finally:
        work.may_end.set()
        await asyncio.gather(*calls)


@pytest.fixture
def short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send callers away after a fifth of a second in line."""
    monkeypatch.setattr(handler, "_IN_LINE_SECONDS", 0.2)


async def test_a_caller_who_waited_too_long_is_told_to_come_back(short_line: None) -> None:
    async with every_thread_taken():
        answer = await call("POST", ASK, REQUESTER, BODY)

    assert answer.refusal == (503, "E5003")
    assert answer.body["message"] == "The server has too much to do. Try again; nothing was done."
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not await ApprovalRequest.objects.filter(request_id="in-line").aexists()


async def test_a_refusal_is_told_in_the_callers_language_and_to_other_origins(
    short_line: None,
) -> None:
    headers = {"Accept-Language": "ko", "Origin": "http://localhost:4200"}
    async with every_thread_taken():
        answer = await call("GET", ASK, REQUESTER, headers=headers)

    assert answer.body["message"].startswith("서버가 처리할 일이 너무 많습니다.")
    assert answer.headers["access-control-allow-origin"] == headers["Origin"]


async def test_people_are_refused_with_a_page(short_line: None) -> None:
    async with every_thread_taken():
        answer = await call("GET", "/admin/")

    assert answer.status == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>The server has too much to do</h1>" in answer.content.decode()
    assert "default-src" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/health", "/api/aura/health"])
async def test_health_is_answered_while_every_thread_is_taken(path: str) -> None:
    async with every_thread_taken():
        answer = await call("GET", path)

    assert answer.status == 200


async def test_the_line_moves_when_a_thread_is_free() -> None:
    async with every_thread_taken() as work:
        waiting = asyncio.create_task(call("POST", ASK, REQUESTER, BODY))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        work.may_end.set()
        answer = await waiting

    assert answer.status == 201


async def test_the_call_of_a_client_who_left_the_line_is_never_made() -> None:
    async with every_thread_taken(), Exchange("POST", ASK, REQUESTER, BODY):
        await asyncio.sleep(0.2)  # it stands in line
    # Whatever stood in line behind it has had its turn.
    assert (await call("GET", ASK, REQUESTER)).status == 200

    assert not await ApprovalRequest.objects.filter(request_id="in-line").aexists()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Have views read a body only when the test lets them."""
    work = Work()

    def slowly(request: HttpRequest) -> dict[str, Any]:
        work()
        return body.read_json(request)

    monkeypatch.setattr(views, "read_json", slowly)
    return work


async def test_a_call_that_has_begun_is_finished_after_its_client_has_left(slow: Work) -> None:
    async with Exchange("POST", ASK, REQUESTER, BODY):
        await slow.begun()
    slow.may_end.set()

    await until(ApprovalRequest.objects.filter(request_id="in-line").exists, within=15)


async def test_a_call_that_has_begun_is_waited_for(short_line: None, slow: Work) -> None:
    answering = asyncio.create_task(call("POST", ASK, REQUESTER, BODY))
    await slow.begun()
    await asyncio.sleep(0.5)
    slow.may_end.set()

    assert (await answering).status == 201


async def test_calls_are_made_in_the_order_in_which_they_came() -> None:
    made: list[int] = []
    async with every_thread_taken() as work:
        waiting = [
            asyncio.create_task(offload.run_request(lambda n=n: made.append(n), seconds=30.0))  # type: ignore[misc]
            for n in range(50)
        ]
        await asyncio.sleep(0)
        leaver = waiting.pop(7)
        leaver.cancel()
        await asyncio.wait([leaver])
        work.may_end.set()
        await asyncio.gather(*waiting)

    # Threads that are free together begin in order, and may append in any.
    assert 7 not in made
    assert sorted(made) == [n for n in range(50) if n != 7]
    assert all(abs(place - n) <= offload.REQUEST_THREADS + 1 for place, n in enumerate(made))


async def test_no_more_calls_are_made_at_once_than_there_are_threads() -> None:
    now, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with lock:
            now -= 1

    await asyncio.gather(*(offload.run_request(work, seconds=30.0) for _ in range(100)))

    assert most == offload.REQUEST_THREADS
