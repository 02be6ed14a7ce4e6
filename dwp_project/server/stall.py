"""Detects clients that stop receiving, by what the kernel says they have acknowledged."""

from __future__ import annotations

import array
import fcntl
import termios
import time
from typing import Any


class StallDetector:
    """Knows whether the client of one connection receives anything."""

    def __init__(self) -> None:
        self._written = self._received = 0
        self._received_at = time.monotonic()

    def note_sent(self, size: int) -> None:
        """Note that `size` bytes are to be sent."""
        self._written += size

    def note_received(self) -> None:
        """Note that the client has received something just now."""
        self._received_at = time.monotonic()

    def is_stalled(self, transport: Any, now: float, seconds: float) -> bool:
        """Say whether data waits for the client, which has received nothing for `seconds`."""
        waiting = unsent_bytes(transport)
        if not waiting:
            self._received, self._received_at = self._written, now
            return False
        received = self._written - waiting - _in_kernel(transport)
        if received > self._received:
            self._received_at = now
        self._received = received
        return now - self._received_at >= seconds


def unsent_bytes(transport: Any) -> int:
    """Return how many bytes wait in this process for the client, without those in the kernel."""
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)


def _in_kernel(transport: Any) -> int:
    """Return how many bytes the client's kernel has not acknowledged."""
    size = array.array("i", [0])
    try:
        fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, size)
    except OSError:
        return 0
    return size[0]
