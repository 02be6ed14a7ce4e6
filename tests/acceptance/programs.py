"""The programs of a deployment beside `serve`, run with the files and snippets that we ship."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT
from tests.acceptance.wire import Connection, Response, request_bytes

NGINX_CONF = CHECKOUT / "deploy/nginx.conf"
DEPLOY_PAGE = CHECKOUT / "docs/how-to/deploy.md"
_START_SECONDS = 30.0


def program(name: str) -> str:
    """Return the path of an installed program, or skip the test."""
    # Debian has servers in /usr/sbin, which is not on everybody's PATH.
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def snippet(begins: str) -> str:
    """Return the code block of deploy.md that begins with this text."""
    blocks = re.findall(r"^```\n(.*?)^```", DEPLOY_PAGE.read_text("utf-8"), re.M | re.S)
    [block] = [block for block in blocks if block.startswith(begins)]
    return str(block)


@contextmanager
def running(command: Sequence[str], log: Path, port: int) -> Iterator[None]:
    """Run `command` until the block ends; it listens on `port` when the block begins."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{command[0]} did not start:\n{log.read_text('utf-8')}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Nginx:
    """A running nginx with our configuration."""

    def __init__(self, port: int, error_log: Path) -> None:
        self.port = port
        self._error_log = error_log

    @property
    def errors(self) -> str:
        """What it has logged about failures."""
        return self._error_log.read_text(encoding="utf-8")

    def connect(self) -> Connection:
        return Connection(socket.create_connection(("127.0.0.1", self.port), 10), 30)

    def send(self, data: bytes) -> Response:
        """Send these bytes and return the answer, without waiting for the connection to close."""
        with self.connect() as connection:
            connection.send(data)
            head = connection.take_until(b"\r\n\r\n") or b""
            length = re.search(rb"^Content-Length: (\d+)", head, re.MULTILINE)
            rest = connection.take(int(length[1])) if length else connection.receive_all()
            return Response.parse(head + (rest or b""))

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: object = b""
    ) -> Response:
        sent = {"Connection": "close"} | (headers or {})
        return self.send(request_bytes(method, path, sent, body))


@contextmanager
def nginx(
    folder: Path,
    ports: Sequence[int],
    port: int,
    *,
    tls: tuple[int, Path, Path] | None = None,
    behind_balancer: bool = False,
) -> Iterator[Nginx]:
    """Run nginx on `port` in front of two processes on `ports`.

    What it reads is the file that we ship, with other ports and folders. `tls` is a port, a
    certificate and a key, for which the comment signs of the file are removed, as they are for a
    load balancer that ends TLS.
    """
    text = NGINX_CONF.read_text(encoding="utf-8")
    if behind_balancer:
        assert "#https https;" in text
        text = text.replace("#https https;", "https https;")
    if tls is not None:
        text = text.replace("        #listen 443", "        listen 443")
        text = text.replace("        #listen [::]:443", "        listen [::]:443")
        text = text.replace("        #ssl_", "        ssl_")
        text = text.replace("443 ssl", f"{tls[0]} ssl")
        text = text.replace("/etc/dwp/tls/fullchain.pem", str(tls[1]))
        text = text.replace("/etc/dwp/tls/key.pem", str(tls[2]))
    for shipped, used in (("9001", ports[0]), ("9002", ports[1]), ("8080", port)):
        assert shipped in text
        text = text.replace(f":{shipped}", f":{used}").replace(
            f"listen {shipped}", f"listen {used}"
        )
    if not _has_ipv6():
        text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.M)
    folder.mkdir(exist_ok=True)
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{temporary}", 1)
    configuration, errors = folder / "nginx.conf", folder / "error.log"
    configuration.write_text(text, encoding="utf-8")
    # Its workers need the folders of a test, which belong to whoever runs it.
    user = "user root; " if os.geteuid() == 0 else ""
    globals_ = f"daemon off; {user}pid {folder}/pid; error_log {errors} warn;"
    command = [program("nginx"), "-c", str(configuration), "-e", str(errors), "-g", globals_]
    with running(command, folder / "output", port):
        yield Nginx(port, errors)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
