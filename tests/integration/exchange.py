"""One HTTP exchange with the ASGI application, as a server would hold it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from dwp_project.sse.consumer import CUT
from tests.integration.calls import Answer
from tests.people import Person


class Exchange:
    """Sends one request and takes the answer piece by piece; leaving the block disconnects."""

    def __init__(
        self,
        method: str,
        url: str,
        by: Person | None = None,
        body: bytes | list[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        path, _, query = url.partition("?")
        sent = {"Host": "localhost", **(by.headers if by else {}), **(headers or {})}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [
                (name.lower().encode("ascii"), value.encode("utf-8"))
                for name, value in sent.items()
            ],
            "client": ["127.0.0.1", 50000],
            "server": ["127.0.0.1", 8080],
        }
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        pieces = body if isinstance(body, list) else [body]
        for piece in pieces[:-1]:
            self._inbox.put_nowait({"type": "http.request", "body": piece, "more_body": True})
        self._inbox.put_nowait({"type": "http.request", "body": pieces[-1], "more_body": False})
        self._task: asyncio.Task[None] | None = None
        self.is_complete = self.was_cut = False

    def forget_the_last_piece(self) -> None:
        """Leave the body unfinished; call it before the block."""
        pieces = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        for piece in pieces[:-1]:
            self._inbox.put_nowait(piece)

    async def __aenter__(self) -> Self:
        from dwp_project.asgi import application

        self._task = asyncio.create_task(
            application(self._scope, self._inbox.get, self._outbox.put)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait({self._task}, timeout=10)
        if not self._task.done():
            self._task.cancel()
            raise AssertionError("the application goes on after the client has left")
        self._task.result()

    async def start(self, within: float = 15.0) -> tuple[int, dict[str, str]]:
        """Return status and headers."""
        message = await self._message(within)
        assert message["type"] == "http.response.start", message
        return message["status"], {
            name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]
        }

    async def piece(self, within: float = 15.0) -> bytes:
        """Return the next piece of the body; `is_complete` after the last, `was_cut` if the
        connection was to be broken off instead."""
        assert not self.is_complete, "the response has ended"
        message = await self._message(within)
        if message["type"] == CUT:
            self.is_complete = self.was_cut = True
            return b""
        assert message["type"] == "http.response.body", message
        self.is_complete = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def rest(self, within: float = 15.0) -> bytes:
        """Return all of the body that is left."""
        received = b""
        while not self.is_complete:
            received += await self.piece(within)
        return received

    async def _message(self, within: float) -> dict[str, Any]:
        async with asyncio.timeout(within):
            return await self._outbox.get()


async def call(
    method: str,
    url: str,
    by: Person | None = None,
    body: bytes | list[bytes] = b"",
    *,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request and return the complete answer."""
    async with Exchange(method, url, by, body, headers) as exchange:
        status, answered = await exchange.start()
        return Answer(status, answered, await exchange.rest())


@asynccontextmanager
async def stream(
    url: str,
    by: Person,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Exchange]:
    """Open a stream, by POST where there is a body, and check that it has begun."""
    async with Exchange("GET" if body is None else "POST", url, by, body or b"", headers) as sse:
        status, _ = await sse.start()
        assert status == 200
        yield sse
