"""`failing_app` as a process, on our server or on the daphne that it repairs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT, free_ports
from tests.acceptance.wire import Connection, Response, request_bytes


def and_not_on_stock(*options: str, fixture: str = "app") -> pytest.MarkDecorator:
    """Run the test on our server with `options`, and show that it fails on stock daphne.

    `fixture` is the one that makes the server.
    """
    mended = pytest.mark.xfail(
        strict=True,
        raises=(AssertionError, OSError, pytest.fail.Exception),
        reason="what our server mends",
    )
    servers = [
        pytest.param(options, id="ours"),
        pytest.param(("--stock", *options), id="stock", marks=mended),
    ]
    return pytest.mark.parametrize(fixture, servers, indirect=True)


class AppServer:
    """One process of `failing_app`; ready when made."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_ports(1)[0]
        self.cleaned_up = folder / "cleaned-up"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.acceptance.failing_app"),
                *(str(self.port), str(self.cleaned_up), *options),
            ],
            cwd=CHECKOUT,
            env=dict(os.environ),
        )
        deadline = time.monotonic() + 60
        while not self._listens():
            # No AssertionError: a test that is to fail on the stock server must get there.
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)

    def __enter__(self) -> AppServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def connect(self, timeout: float = 5.0) -> Connection:
        return Connection(socket.create_connection(("127.0.0.1", self.port), timeout), timeout)

    def get(self, path: str, version: bytes = b"1.1") -> bytes:
        """Return every byte of the answer on a connection that is not to be kept."""
        request = request_bytes("GET", path, {"Connection": "close"})
        with self.connect() as connection:
            connection.send(request.replace(b"HTTP/1.1", b"HTTP/" + version, 1))
            return connection.receive_all()

    def answer(self, path: str) -> Response:
        return Response.parse(self.get(path))

    def memory(self) -> int:
        """Return the process's memory in bytes."""
        return self._status("VmRSS")

    def forget_peak(self) -> int:
        """Return the process's memory in bytes, from which `peak` counts on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.peak()

    def peak(self) -> int:
        """Return the most memory that the process has had."""
        return self._status("VmHWM")

    def _status(self, what: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith(f"{what}:"))
        return int(line.split()[1]) * 1024

    def _listens(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True
