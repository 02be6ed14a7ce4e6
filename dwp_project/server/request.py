"""One HTTP request as daphne sees it, with the ends that daphne gets wrong put right."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from django.http import HttpRequest

from dwp_project.gateway import envelope, errors
from dwp_project.jsontext import compact
from dwp_project.sse.consumer import CUT

# A prompt may come in the query, percent-encoded: as long as a body may be, and headers.
MAX_HEAD_BYTES = settings.MAX_BODY_BYTES + 16 * 1024

logger = structlog.get_logger(__name__)


class Request(WebRequest):
    """A request whose failure ends itself and nothing else."""

    def process(self) -> Any:
        """Take the request as plain HTTP from this root, whatever its headers ask for."""
        for name in (b"daphne-root-path", b"upgrade"):
            self.requestHeaders.removeHeader(name)
        return super().process()

    def handle_reply(self, message: Any) -> None:
        """Pass on what the application sends, and cut the connection where it asks for that."""
        if message.get("type") != CUT:
            super().handle_reply(message)
        elif not self.finished and self.channel is not None:
            self.cut()

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
        transport = self.channel.transport
        if self.clientproto == b"HTTP/1.0":
            # There the end of the connection is the end of the answer; only a reset is not.
            transport.abortConnection()
        else:
            transport.loseConnection()

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


class Factory(HTTPFactory):
    """Makes a `Request` of every request."""

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        channel = protocol._channel
        channel.MAX_LENGTH = channel.totalHeadersSize = MAX_HEAD_BYTES
        channel.lineLengthExceeded = partial(_refuse_head, channel)
        return protocol


def _refuse_head(channel: Any, line: bytes) -> None:
    """Answer a request line or header without end, and close."""
    content = compact(envelope.failure(errors.BodyTooLarge(), HttpRequest())).encode()
    channel.transport.write(
        b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    )
    channel.loseConnection()
