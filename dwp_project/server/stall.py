"""How much of what was sent a client has taken, as far as its kernel tells."""

from __future__ import annotations

import array
import fcntl
import termios
import time
from typing import Any


class StallDetector:
    """Sees whether the client of one connection takes anything at all."""

    def __init__(self) -> None:
        self._written = self._taken = 0
        self._at = time.monotonic()

    def note_sent(self, size: int) -> None:
        """Note that `size` bytes are to be sent."""
        self._written += size

    def note_taken(self) -> None:
        """Note that the client has taken something just now."""
        self._at = time.monotonic()

    def is_stalled(self, transport: Any, now: float, seconds: float) -> bool:
        """Return whether something waits for the client that took nothing for `seconds`."""
        waiting = unsent_bytes(transport)
        taken = self._written - waiting - (_in_kernel(transport) if waiting else 0)
        if not waiting or taken > self._taken:
            self._at = now
        self._taken = taken
        return now - self._at >= seconds


def unsent_bytes(transport: Any) -> int:
    """Return how many bytes the process holds for the client, beside those in the kernel."""
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)


def _in_kernel(transport: Any) -> int:
    """Return how many bytes the kernel holds that the client has not acknowledged."""
    held = array.array("i", [0])
    try:
        fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, held)
    except OSError:
        return 0
    return held[0]
