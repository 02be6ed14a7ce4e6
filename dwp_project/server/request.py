"""One HTTP request as daphne sees it, with the ends that daphne gets wrong put right."""

from __future__ import annotations

from typing import Any

import structlog
from daphne.http_protocol import HTTPFactory, WebRequest
from django.http import HttpRequest

from dwp_project.gateway import envelope, errors
from dwp_project.jsontext import compact
from dwp_project.sse.consumer import CUT

logger = structlog.get_logger(__name__)


class Request(WebRequest):
    """A request whose failure ends itself and nothing else."""

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
        return protocol
