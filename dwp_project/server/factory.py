"""Makes connections, knows all that are open, and looks after their time."""

from __future__ import annotations

import time
from typing import Any

from daphne.http_protocol import HTTPFactory

from dwp_project.server.channel import Channel
from dwp_project.server.limits import SHUTDOWN_LIMITS, Limits
from dwp_project.server.request import Request


class Factory(HTTPFactory):
    """Makes a `Channel` of every connection and a `Request` of every request."""

    protocol = Channel

    def __init__(self, server: Any, limits: Limits) -> None:
        super().__init__(server)
        self.timeOut = None
        self.channels: set[Channel] = set()
        self.is_ending = False
        self._limits = limits

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        channel.requestFactory = Request
        return channel

    def sweep(self) -> None:
        """End the connections of clients that have had their time; call it every second."""
        now = time.monotonic()
        for channel in list(self.channels):
            channel.sweep(now, SHUTDOWN_LIMITS if self.is_ending else self._limits)
