"""What callers get when every thread is taken (docs/reference/wire.md, 2: E5003)."""

from __future__ import annotations

import asyncio
import gc
import io
import re
import threading
import warnings
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest
from pytest_django import Settings

from dwp_project import offload
from dwp_project.gateway import body, handler, login, views
from dwp_project.offload import run_sync
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
def short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send callers away after a fifth of a second in line."""
    monkeypatch.setattr(handler, "_QUEUE_SECONDS", 0.2)


async def test_a_caller_who_waited_too_long_is_told_to_come_back(short_queue: None) -> None:
    async with every_thread_taken():
        answer = await call("POST", ASK, REQUESTER, BODY)

    assert answer.refusal == (503, "E5003")
    assert answer.body["message"] == "The server has too much to do. Try again; nothing was done."
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not await run_sync(ApprovalRequest.objects.filter(request_id="in-line").exists)


async def test_a_refusal_is_told_in_the_callers_language_and_to_other_origins(
    short_queue: None,
) -> None:
    headers = {"Accept-Language": "ko", "Origin": "http://localhost:4200"}
    async with every_thread_taken():
        answer = await call("GET", ASK, REQUESTER, headers=headers)

    assert answer.body["message"].startswith("서버가 처리할 일이 너무 많습니다.")
    assert answer.headers["access-control-allow-origin"] == headers["Origin"]


async def test_people_are_refused_with_a_page(short_queue: None) -> None:
    async with every_thread_taken():
        answer = await call("GET", "/admin/")

    assert answer.status == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>The server has too much to do</h1>" in answer.content.decode()
    assert "default-src" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/health", "/api/aura/health", "/ready", "/api/metrics"])
async def test_probes_are_answered_while_every_thread_is_taken(
    path: str, settings: Settings
) -> None:
    settings.METRICS_TOKEN = "monitor"
    async with every_thread_taken():
        answer = await call("GET", path, headers={"Authorization": "Bearer monitor"})

    assert answer.status == 200


async def test_refusals_are_counted(short_queue: None, settings: Settings) -> None:
    settings.METRICS_TOKEN = "monitor"

    async def count() -> float:
        answer = await call("GET", "/metrics", headers={"Authorization": "Bearer monitor"})
        [line] = re.findall(rb"^dwp_requests_refused_total (\S+)$", answer.content, re.MULTILINE)
        return float(line)

    before = await count()
    async with every_thread_taken():
        await asyncio.gather(*(call("GET", ASK, REQUESTER) for _ in range(3)))

    assert await count() == before + 3


async def test_people_who_log_in_hold_nobody_else_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashing = Work()

    def slowly(*args: Any, **kwargs: Any) -> None:
        hashing()

    monkeypatch.setattr(login, "authenticate", slowly)
    form = b'{"username": "a", "password": "b", "tenantId": "tenant1"}'
    logins = [
        asyncio.create_task(call("POST", "/auth/login", body=form))
        for _ in range(2 * offload.REQUEST_THREADS)
    ]
    await hashing.begun()

    assert (await call("POST", ASK, REQUESTER, BODY)).status == 201
    hashing.may_end.set()
    assert {answer.refusal for answer in await asyncio.gather(*logins)} == {(401, "E2004")}


async def test_nothing_of_a_call_that_left_the_line_is_kept() -> None:
    class Sent:
        """Stands for a body of 256 KiB."""

        def __call__(self) -> None:
            raise AssertionError("it has left")

    async with every_thread_taken():
        sent = Sent()
        reference = weakref.ref(sent)
        with pytest.raises(offload.NoThreadFree):
            await offload.run_request(sent, seconds=0.05)
        del sent
        gc.collect()

        assert reference() is None


async def test_a_file_is_read_on_the_threads_of_requests() -> None:
    threads = set()

    class File(io.BytesIO):
        def read(self, *args: Any) -> bytes:
            threads.add(threading.current_thread().name.partition("_")[0])
            return super().read(*args)

    def respond(request: HttpRequest) -> FileResponse:
        return FileResponse(File(b"x" * 200_000))

    app: Any = handler.Handler()
    app._middleware_chain = respond
    received: list[dict[str, Any]] = []
    asked = asyncio.Queue[dict[str, Any]]()
    asked.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: dict[str, Any]) -> None:
        received.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    with warnings.catch_warnings(action="error"):
        await app(scope, asked.get, send)

    assert b"".join(message.get("body", b"") for message in received) == b"x" * 200_000
    assert threads == {"request"}


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

    assert not await run_sync(ApprovalRequest.objects.filter(request_id="in-line").exists)


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


async def test_a_call_that_has_begun_is_waited_for(short_queue: None, slow: Work) -> None:
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
