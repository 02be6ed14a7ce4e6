"""The base of a consumer whose answer may take long: it sees the client leave at once.

`AsyncHttpConsumer` runs its handler inside the message loop and learns of a disconnect
only by being cancelled about ten seconds later. Here the request starts a task and
returns, so the loop is free to hear of the disconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from structlog.stdlib import get_logger

logger = get_logger(__name__)

# The message, ours, on which our server closes a connection without ending the answer.
CUT = "dwp.response.cut"
# The extension, ours, by which an answer asks to hear that the server ends.
DRAIN = "dwp.drain"
# How long an answer that is to end may take until its headers are out: less than the 1.5 s that
# the server leaves for it (dwp_project/server/ending.py).
_START_SECONDS = 1.0


class HttpConsumer(AsyncConsumer):
    """One HTTP exchange: `respond` runs as a task that ends when the client does."""

    # No channel layer: each consumer would subscribe a channel of its own and need Redis.
    channel_layer_alias = ""

    def __init__(self) -> None:
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    @property
    def is_started(self) -> bool:
        """Whether the headers are out."""
        return self._started.is_set()

    async def http_request(self, message: dict[str, Any]) -> None:
        """Collect the body; start answering when it is complete."""
        self._body += message.get("body", b"")
        if not message.get("more_body", False) and self._task is None:
            self._task = asyncio.create_task(self._run(bytes(self._body)))
            on_end = self.scope.get("extensions", {}).get(DRAIN)
            if on_end is not None:
                on_end(self.drain)

    async def http_disconnect(self, message: dict[str, Any]) -> None:
        """End the answer with the connection."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        raise StopConsumer

    async def respond(self, body: bytes) -> None:
        """Answer the request with `start`, `write` and `finish`."""
        raise NotImplementedError

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the status and the headers."""
        self._started.set()
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; more may follow."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """Send the last piece and end the response."""
        await self.send({"type": "http.response.body", "body": data, "more_body": False})

    async def cut(self) -> None:
        """Break the connection off: half an answer must not look like a whole one.

        A stock daphne cannot; there the answer ends as if it were complete.
        """
        try:
            await self.send({"type": CUT})
        except ValueError:
            await self.finish()

    async def drain(self) -> None:
        """End the answer early, and well: the server is about to end. By default it may finish."""

    async def interrupt(self) -> None:
        """Stop `respond`, between two writes, once the headers are out or did not come."""
        task = self._task
        if task is None or task.done():
            return
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait(
            [task, started], timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        started.cancel()
        task.cancel()

    async def _run(self, body: bytes) -> None:
        # Nothing may escape once the headers are out: stock daphne never recovers from it.
        try:
            await self.respond(body)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            logger.error("response_broken", path=self.scope["path"], exc_info=exc)
            if self.is_started:
                await self.cut()
