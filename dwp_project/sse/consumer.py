"""The base of consumers whose answers take long: it notices at once that the client has left.

`AsyncHttpConsumer` runs its handler inside the message loop and is cancelled only about ten seconds
after a disconnect. Here the request starts a task and returns, so the loop can receive the
disconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from structlog.stdlib import get_logger

logger = get_logger(__name__)

# Our own message type: our server closes the connection without ending the answer.
CUT = "dwp.response.cut"
# Our own ASGI extension: an answer registers a callback for the server's shutdown.
DRAIN = "dwp.drain"
# Our own ASGI extension: a piece of the body is sent at once, by a call that does not wait; to a
# client that has not received what was sent before, nothing is.
WRITE = "dwp.write"
# How long an answer that is to end may take until its headers are out: less than the 1.5 s that
# the server leaves for it (dwp_project/server/shutdown.py).
_START_SECONDS = 1.0


class HttpConsumer(AsyncConsumer):
    """One HTTP exchange: `respond` runs as a task that ends when the client disconnects."""

    # No channel layer: each consumer would subscribe to a channel of its own and need Redis.
    channel_layer_alias = ""

    def __init__(self) -> None:
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether the headers are sent."""
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

    def write_at_once(self, data: bytes) -> None:
        """Send a piece of the body without waiting until the client has received it."""
        write = self.scope.get("extensions", {}).get(WRITE)
        if write is not None:
            write(data)
        elif self._writing is None or self._writing.done():
            # A stock daphne takes messages from coroutines alone.
            self._writing = asyncio.create_task(self.write(data))

    async def finish(self, data: bytes = b"") -> None:
        """Send the last piece and end the response."""
        await self.send({"type": "http.response.body", "body": data, "more_body": False})

    async def cut(self) -> None:
        """Break the connection, so that half an answer does not look like a whole one.

        A stock daphne cannot do that; there the answer ends as if it were complete.
        """
        try:
            await self.send({"type": CUT})
        except ValueError:
            await self.finish()

    async def drain(self) -> None:
        """End the answer early, as the server shuts down. By default the answer runs on."""

    async def interrupt(self) -> None:
        """Stop `respond` between two writes, after the headers or a second without them."""
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
        # No exception may leave after the headers are sent: a stock daphne never recovers from it.
        try:
            await self.respond(body)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            logger.error("response_broken", path=self.scope["path"], exc_info=exc)
            if self.is_started:
                await self.cut()
