"""One connection of a client, with limits on the memory and the time that it may take.

Twisted keeps a request's whole body in memory, and daphne an answer's, however large. Here a body
is refused before it is read if it is too large, `has_room` is set when the client has received what
was sent, and every phase has a time limit but the application's own.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.http import HttpRequest
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from dwp_project.gateway import envelope, errors
from dwp_project.jsontext import compact
from dwp_project.server.limits import Limits
from dwp_project.server.stall import StallDetector, unsent_bytes

if TYPE_CHECKING:
    from dwp_project.server.factory import Factory
    from dwp_project.server.request import Request

# A prompt may be in the query, percent-encoded: as long as a body, and 16 KiB of headers (chosen:
# twice the largest token).
MAX_HEAD_BYTES = settings.MAX_BODY_BYTES + 16 * 1024
# Python's `int` raises from 4300 digits on; no length that fits into 64 bits has more than 19.
_MAX_LENGTH_DIGITS = 18

logger = structlog.get_logger(__name__)


class Phase(Enum):
    """What a connection is busy with."""

    # Nothing has arrived yet. Whoever connected is about to send a request.
    NEW = auto()
    IDLE = auto()
    RECEIVING = auto()
    ANSWERING = auto()
    # Answering a request that was refused before it was complete; the rest of it is discarded.
    DISCARDING = auto()
    # The answer is sent, the rest of the request is still discarded: closing now would reset the
    # connection before the client has read its answer.
    LINGERING = auto()


class ClientConnection(HTTPChannel):
    """HTTP/1.1 on one connection; `Factory.sweep` enforces its time limits."""

    MAX_LENGTH = totalHeadersSize = MAX_HEAD_BYTES  # noqa: N815 - Twisted's names
    # Off: Twisted's timer restarts with every byte, so `sweep` enforces the limits instead.
    timeOut = None  # noqa: N815

    factory: Factory
    transport: Any
    _networkProducer: Any  # noqa: N815
    requests: list[Request]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Set while more may be sent; cleared while the client has not received what was sent.
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._phase = Phase.NEW
        self._phase_began_at = time.monotonic()
        self._stall = StallDetector()

    @property
    def is_last_answer(self) -> bool:
        """Whether the connection closes after the answer that is being sent."""
        return self.factory.is_ending or self._is_discarding

    def sweep(self, now: float, limits: Limits) -> None:
        """End the connection if the client has exceeded a limit; called every second."""
        if self._stall.is_stalled(self.transport, now, limits.stall):
            logger.warning("client_not_reading", unsent=unsent_bytes(self.transport))
            return self.abort()
        if self._phase is Phase.ANSWERING:
            return  # The application takes its time, and thousands of streams are looked at.
        seconds = {
            Phase.NEW: limits.new,
            Phase.IDLE: limits.idle,
            Phase.RECEIVING: limits.receive,
            Phase.DISCARDING: limits.receive,
            Phase.LINGERING: limits.linger,
        }.get(self._phase)
        if seconds is not None and now - self._phase_began_at >= seconds:
            super().loseConnection()  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """Reset the connection; what was not sent yet is dropped."""
        self.transport.abortConnection()

    # --- receiving ---------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        if not self.factory.add(self):
            self._refuse_head(b"503 Service Unavailable", errors.Overloaded())

    def dataReceived(self, data: bytes) -> None:
        if self._phase is not Phase.LINGERING:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
            self._note_phase()

    def lineReceived(self, line: bytes) -> None:
        if not self._is_discarding:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        if self._is_discarding:
            return
        if not self._handlingRequest:
            return super().rawDataReceived(data)
        # Part of a pipelined request. Twisted would read on while its answers are not received.
        self._dataBuffer.append(data)
        if sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> Any:
        if header == b"Content-Length" and len(data) > _MAX_LENGTH_DIGITS:
            return self._failChooseTransferDecoder()
        return super()._maybeChooseTransferDecoder(header, data)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if self._is_too_long:
            self.refuse_body()

    def _send100Continue(self) -> None:
        if not self._is_too_long:
            super()._send100Continue()  # type: ignore[no-untyped-call]

    @property
    def _is_too_long(self) -> bool:
        return self.length is not None and self.length > settings.MAX_BODY_BYTES

    def refuse_body(self) -> None:
        """Have the request answered at once, without its body, and discard the rest of it.

        The application answers, because it knows the order of checks in wire.md, 1.
        """
        self._enter(Phase.DISCARDING)
        self.requests[-1].drop_body()
        self.persistent = 0
        self.allContentReceived()
        # With a length of 0, Twisted would take the request as complete a second time.
        self.length = None

    def allContentReceived(self) -> None:
        if not self._is_discarding:
            self._enter(Phase.ANSWERING)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def _finishRequestBody(self, data: bytes) -> None:
        if not self._is_discarding:
            super()._finishRequestBody(data)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request line or header that is too long."""
        self._refuse_head(b"413 Request Entity Too Large", errors.BodyTooLarge())

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Refuse what is not HTTP."""
        if not self._is_discarding:
            self._refuse_head(b"400 Bad Request", errors.InvalidValue())

    def _refuse_head(self, status: bytes, error: errors.DwpError) -> None:
        content = compact(envelope.failure(error, HttpRequest())).encode()
        others = "".join(
            f"{key}: {text}\r\n" for key, text in envelope.error_headers(error).items()
        )
        self.transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%b"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (status, others.encode(), len(content), content)
        )
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        self._enter(Phase.DISCARDING)
        self.loseConnection()

    # --- sending -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._stall.note_sent(len(data))
        super().write(data)  # type: ignore[no-untyped-call]

    def write_at_once(self, data: bytes) -> None:
        """Send `data` now, as far as nothing waits to be sent before it and the kernel takes it.

        Twisted asks the kernel to say when it takes data, which is three system calls instead of
        one, and a turn of the event loop.
        """
        taken = 0
        if self.transport.connected and not unsent_bytes(self.transport):
            sent = self.transport.writeSomeData(data)
            taken = sent if isinstance(sent, int) else 0
        self._stall.note_sent(taken)
        if taken < len(data):
            # The rest as usual, and what is wrong with the connection is noticed there.
            self.write(data[taken:])

    def writeSequence(self, iovec: Any) -> None:
        self._stall.note_sent(sum(map(len, iovec)))
        super().writeSequence(iovec)  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """Make the application wait: the transport's buffer is full."""
        self.has_room.clear()
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """Let the application go on: the transport's buffer is empty."""
        self._stall.note_received()
        self.has_room.set()
        super().resumeProducing()  # type: ignore[no-untyped-call]

    # --- the end of an answer and of the connection ------------------------------------

    def requestDone(self, request: Any) -> None:
        if self.is_last_answer:
            self.persistent = 0
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self._waitingForTransport and not self._handlingRequest and not self._is_discarding:
            # Read nothing more from a client that does not receive its answers.
            self._networkProducer.pauseProducing()
        self._note_phase()

    def loseConnection(self) -> None:
        """Close when everything is sent; a client that still sends can read its answer first."""
        self.has_room.set()
        if self._phase is not Phase.DISCARDING:
            super().loseConnection()  # type: ignore[no-untyped-call]
            return
        self._enter(Phase.LINGERING)
        # A paused producer would keep the transport from closing.
        self._networkProducer.unregisterProducer()
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.has_room.set()
        self.factory.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    # --- phases ------------------------------------------------------------------------

    @property
    def _is_discarding(self) -> bool:
        return self._phase in (Phase.DISCARDING, Phase.LINGERING)

    def _note_phase(self) -> None:
        if self._is_discarding:
            return
        if self._handlingRequest:
            phase = Phase.ANSWERING
        else:
            phase = Phase.RECEIVING if self.requests or self._buffer else Phase.IDLE
        if phase is not self._phase:
            self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._phase_began_at = time.monotonic()
