"""One HTTP request as daphne sees it, with the ends that daphne gets wrong put right."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

import structlog
from daphne.http_protocol import WebRequest
from django.conf import settings
from django.http import HttpRequest

from dwp_project.gateway import envelope, errors
from dwp_project.jsontext import compact
from dwp_project.sse.consumer import CUT

logger = structlog.get_logger(__name__)


class Request(WebRequest):
    """A request whose failure ends itself and nothing else."""

    # Whether its body was longer than bodies may be, and is dropped.
    is_too_large = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Nobody reads what Twisted would find in a form.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: it is capped."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, as long as it is no longer than bodies may be."""
        if self.is_too_large:
            return
        if self.content.tell() + len(data) > settings.MAX_BODY_BYTES:
            self.channel.refuse_body()
        else:
            self.content.write(data)

    def drop_body(self) -> None:
        """Be a request whose body was too large: without it, and marked."""
        self.is_too_large = True
        self.content = BytesIO()

    def process(self) -> Any:
        """Take the request as plain HTTP from this root, whatever its headers ask for."""
        for name in (b"daphne-root-path", b"upgrade"):
            self.requestHeaders.removeHeader(name)
        return super().process()

    def handle_reply(self, message: Any) -> None:
        """Pass on what the application sends, and cut the connection where it asks for that."""
        if message.get("type") == CUT:
            if not self.finished and self.channel is not None:
                self.cut()
            return
        is_start = message.get("type") == "http.response.start" and not self._response_started
        super().handle_reply(message)
        if is_start and self.channel is not None and self.channel.is_last_answer:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    async def wait_for_room(self) -> None:
        """Wait until the client has taken what was sent, or is gone."""
        channel = None if self.finished else self.channel
        if channel is None:
            # Whoever goes on sending must still hear that nobody is there.
            await asyncio.sleep(0)
        else:
            await channel.has_room.wait()

    def handle_exception(self, exception: BaseException) -> None:
        """Answer 500, or cut the connection if an answer has begun.

        A client must not take half an answer for the whole: no terminating chunk is sent.
        """
        if self.finished or self.channel is None:
            return
        if self._response_started:
            logger.error("answer_cut_off", path=self.path.decode("ascii", "replace"))
            self.cut()
        else:
            super().handle_exception(exception)

    def cut(self) -> None:
        """Close the connection in a way that the client sees as broken."""
        if self.clientproto == b"HTTP/1.0":
            # There the end of the connection is the end of the answer; only a reset is not.
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
