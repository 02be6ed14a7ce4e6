"""A Unix socket whose connections are carried on to another address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Proxy:
    """Accepts at `path` and connects each anew; who extends it says how the bytes are carried."""

    def __init__(self, path: Path, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._ear = socket.socket(socket.AF_UNIX)
        self._ear.bind(str(path))
        self._ear.listen(128)
        self.start(self._accept)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Begin to carry bytes both ways, each in a thread of `start`."""
        raise NotImplementedError

    def close(self) -> None:
        sockets = [self._ear, *self._sockets]
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in sockets:
            one.close()

    def start(self, run: Callable[..., None], *args: object) -> None:
        """Run something in a thread that ends with the proxy."""
        self._threads.append(threading.Thread(target=run, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._ear.accept()
                far = self._connect()
                self._sockets += [near, far]
                self.carry(near, far)


def connected_to(path: str) -> socket.socket:
    """Return a connection to a Unix socket."""
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(path)
    return connected
