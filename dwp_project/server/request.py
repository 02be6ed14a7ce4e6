"""One HTTP request in daphne, with corrections of how daphne ends failed and broken ones."""

from __future__ import annotations

import asyncio
import secrets
from io import BytesIO
from typing import Any

import structlog
from daphne.http_protocol import WebRequest
from django.conf import settings
from django.http import HttpRequest
from twisted.web.http import toChunk

from dwp_project.gateway import envelope, errors
from dwp_project.jsontext import compact
from dwp_project.server.stall import unsent_bytes
from dwp_project.sse.consumer import CUT

logger = structlog.get_logger(__name__)

# daphne refuses a header with the byte 0x85, because it ends a line where the request of a
# WebSocket is rebuilt. None is here, and many Korean syllables have it in UTF-8. Nobody can guess
# what stands for it while daphne looks.
_REFUSED, _STAND_IN = b"\x85", secrets.token_hex(16).encode()


class Request(WebRequest):
    """A request whose failure ends this request and nothing else."""

    # Whether the body was too large and has been dropped.
    is_too_large = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django parses forms; Twisted need not.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, as its size is limited."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Add a piece to the body, or refuse the body if it is too large."""
        if self.is_too_large:
            return
        if self.content.tell() + len(data) > settings.MAX_BODY_BYTES:
            self.channel.refuse_body()
        else:
            self.content.write(data)

    def drop_body(self) -> None:
        """Drop the body and mark the request as too large."""
        self.is_too_large = True
        self.content = BytesIO()

    def process(self) -> Any:
        """Process the request without the headers that ask for another root or protocol."""
        for name in (b"daphne-root-path", b"upgrade"):
            self.requestHeaders.removeHeader(name)
        for name, values in list(self.requestHeaders.getAllRawHeaders()):
            if any(_REFUSED in value for value in values):
                changed = [value.replace(_REFUSED, _STAND_IN) for value in values]
                self.requestHeaders.setRawHeaders(name, changed)
        return super().process()

    @property
    def sent_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers for the application, as the client sent them."""
        return [(name, value.replace(_STAND_IN, _REFUSED)) for name, value in self.clean_headers]

    def handle_reply(self, message: Any) -> None:
        """Send a message of the application, or cut the connection if the message is `CUT`."""
        if message.get("type") == CUT:
            if not self.finished and self.channel is not None:
                self.cut()
            return
        if message.get("type") == "http.response.body" and message.get("more_body", False):
            data = message.get("body", b"")
            if data and self.startedWriting and not self.finished and self.channel is not None:
                return self._write_piece(data)
        is_start = message.get("type") == "http.response.start" and not self._response_started
        super().handle_reply(message)
        if is_start and self.channel is not None and self.channel.is_last_answer:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def write_at_once(self, data: bytes) -> None:
        """Send a piece of an answer that has begun; nothing if the client has not received what was
        sent before, or has left."""
        is_open = not self.finished and self.channel is not None and self.startedWriting
        if is_open and not unsent_bytes(self.channel.transport):
            self._write_piece(data)

    def _write_piece(self, data: bytes) -> None:
        self.sentLength += len(data)
        self.channel.write_at_once(b"".join(toChunk(data)) if self.chunked else data)

    async def wait_for_room(self) -> None:
        """Wait until the client has received what was sent, or has disconnected."""
        channel = None if self.finished else self.channel
        if channel is None:
            # Lets the application's task run, so that it learns of the disconnect.
            await asyncio.sleep(0)
        else:
            await channel.has_room.wait()

    def handle_exception(self, exception: BaseException) -> None:
        """Answer 500, or cut the connection if an answer has begun.

        No terminating chunk is sent then, so that no client takes half an answer for a whole one.
        """
        if self.finished or self.channel is None:
            return
        if self._response_started:
            logger.error("answer_cut_off", path=self.path.decode("ascii", "replace"))
            self.cut()
        else:
            super().handle_exception(exception)

    def cut(self) -> None:
        """Close the connection so that the client sees it as broken."""
        if self.clientproto == b"HTTP/1.0":
            # In HTTP/1.0 a closed connection ends the answer properly; only a reset does not.
            self.channel.abort()
        else:
            self.channel.loseConnection()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Answer with the envelope (wire.md, 2) instead of daphne's HTML page."""
        error = errors.InvalidValue() if status == 400 else errors.DwpError()
        content = compact(envelope.failure(error, HttpRequest())).encode()
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(content)).encode()),
        ]
        self.handle_reply(
            {"type": "http.response.start", "status": error.code.status, "headers": headers}
        )
        self.handle_reply({"type": "http.response.body", "body": content})
