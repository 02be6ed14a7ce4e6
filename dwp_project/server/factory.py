"""Creates the connections, knows those that are open, and enforces their time limits."""

from __future__ import annotations

import math
import time
from typing import Any

import structlog
from daphne.http_protocol import HTTPFactory

from dwp_project.server.connection import ClientConnection
from dwp_project.server.limits import REMEDY, SHUTDOWN_LIMITS, Limits
from dwp_project.server.request import Request

# Chosen: a log in which a flood of refusals is seen, and not much else is lost.
LOG_AGAIN_SECONDS = 10.0

logger = structlog.get_logger(__name__)


class Factory(HTTPFactory):
    """Creates a `ClientConnection` for every connection and a `Request` for every request.

    Of the connections, `most` are served at a time; others are to be refused.
    """

    protocol = ClientConnection

    def __init__(self, server: Any, limits: Limits, most: int) -> None:
        super().__init__(server)
        self.timeOut = None
        self.connections: set[ClientConnection] = set()
        # Those that were too many, until their clients have read it.
        self.refused: set[ClientConnection] = set()
        self.is_ending = False
        self._limits = limits
        self._most = most
        self._logged_at = -math.inf

    def buildProtocol(self, addr: Any) -> Any:
        connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        return connection

    def sweep(self) -> None:
        """End the connections that have exceeded a limit; to be called every second."""
        now = time.monotonic()
        for connection in list(self.connections):
            connection.sweep(now, SHUTDOWN_LIMITS if self.is_ending else self._limits)

    def add(self, connection: ClientConnection) -> bool:
        """Add a new connection; return whether it is served."""
        self.connections.add(connection)
        served = len(self.connections) - len(self.refused)
        if served <= self._most:
            return True
        self.refused.add(connection)
        if time.monotonic() - self._logged_at >= LOG_AGAIN_SECONDS:
            self._logged_at = time.monotonic()
            logger.warning("connections_refused", open=self._most, remedy=REMEDY)
        return False

    def remove(self, connection: ClientConnection) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)
        self.refused.discard(connection)

    def log(self, request: Any) -> None:
        """Write no access log: daphne discards what Twisted would write at every answer."""
