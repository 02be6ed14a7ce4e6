"""Creates the connections, knows those that are open, and enforces their time limits."""

from __future__ import annotations

import time
from typing import Any

from daphne.http_protocol import HTTPFactory

from dwp_project.server.connection import ClientConnection
from dwp_project.server.limits import SHUTDOWN_LIMITS, Limits
from dwp_project.server.request import Request


class Factory(HTTPFactory):
    """Creates a `ClientConnection` for every connection and a `Request` for every request."""

    protocol = ClientConnection

    def __init__(self, server: Any, limits: Limits) -> None:
        super().__init__(server)
        self.timeOut = None
        self.connections: set[ClientConnection] = set()
        self.is_ending = False
        self._limits = limits

    def buildProtocol(self, addr: Any) -> Any:
        connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        return connection

    def sweep(self) -> None:
        """End the connections that have exceeded a limit; to be called every second."""
        now = time.monotonic()
        for connection in list(self.connections):
            connection.sweep(now, SHUTDOWN_LIMITS if self.is_ending else self._limits)
