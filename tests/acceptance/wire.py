"""HTTP/1.1 as bytes: what a test sends and exactly what came back, no client in between."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


def request_bytes(
    method: str, path: str, headers: Mapping[str, str], body: bytes | object = b""
) -> bytes:
    """Return a request; a body that is not bytes is sent as JSON."""
    sent = {"Host": "localhost"} | dict(headers)
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    if body:
        sent.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Connection:
    """A TCP connection; every read gives up after `timeout` seconds (TimeoutError)."""

    def __init__(self, connected: socket.socket, timeout: float = 30.0) -> None:
        self.socket = connected
        self.socket.settimeout(timeout)
        self.buffer = b""
        # Whether the server ended it with a reset: unlike a close, never a clean end.
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()

    def more(self) -> bool:
        """Read once; return False when the server has closed or reset the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            self.was_reset = True
            return False
        self.buffer += data
        return bool(data)

    def take_until(self, marker: bytes) -> bytes | None:
        """Return everything up to and with `marker`, or None if the connection ends before."""
        while marker not in self.buffer:
            if not self.more():
                return None
        taken, _, self.buffer = self.buffer.partition(marker)
        return taken + marker

    def take(self, size: int) -> bytes | None:
        """Return the next `size` bytes, or None if the connection ends before."""
        while len(self.buffer) < size:
            if not self.more():
                return None
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive_all(self) -> bytes:
        """Return every byte until the server closes."""
        while self.more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers as they came, in order."""

    status: int
    fields: list[tuple[str, str]]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return cls(int(first.split(" ")[1]), fields)

    def __getitem__(self, name: str) -> str:
        assert name in self, f"no {name} in {self}"
        return next(value for field, value in self.fields if field.lower() == name.lower())

    def __contains__(self, name: str) -> bool:
        return any(field.lower() == name.lower() for field, _ in self.fields)

    @property
    def is_chunked(self) -> bool:
        return "Transfer-Encoding" in self and self["Transfer-Encoding"].lower() == "chunked"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. `is_complete` is False when the connection ended before it did."""

    head: Head
    body: bytes
    is_complete: bool

    @classmethod
    def parse(cls, raw: bytes) -> Response:
        head, _, rest = raw.partition(b"\r\n\r\n")
        if not head:
            raise ConnectionError(f"no answer but {raw!r}")
        parsed = Head.parse(head)
        if parsed.is_chunked:
            body, is_complete = _join_chunks(rest)
            return cls(parsed, body, is_complete)
        length = int(parsed["Content-Length"]) if "Content-Length" in parsed else len(rest)
        return cls(parsed, rest[:length], len(rest) >= length)

    @property
    def status(self) -> int:
        return self.head.status

    def json(self) -> Any:
        return json.loads(self.body)


def _join_chunks(raw: bytes) -> tuple[bytes, bool]:
    body = b""
    while True:
        line, separator, raw = raw.partition(b"\r\n")
        if not separator:
            return body, False
        size = int(line, 16)
        if size == 0:
            return body, raw.startswith(b"\r\n")
        if len(raw) < size + 2:
            return body + raw[:size], False
        body, raw = body + raw[:size], raw[size + 2 :]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stream: its bytes, and its fields where it has them."""

    raw: bytes

    def _field(self, name: str) -> str | None:
        found = re.search(rf"^{name}: (.*)$", self.raw.decode(), re.MULTILINE)
        return found[1] if found else None

    @property
    def is_comment(self) -> bool:
        return self.raw.startswith(b":")

    @property
    def id(self) -> int | None:
        field = self._field("id")
        return None if field is None else int(field)

    @property
    def event(self) -> str | None:
        return self._field("event")

    @property
    def data(self) -> str | None:
        return self._field("data")

    @property
    def is_done(self) -> bool:
        return self.data == "[DONE]"

    def json(self) -> Any:
        assert self.data is not None, self.raw
        return json.loads(self.data)


class Stream:
    """An answer that comes in frames. Iterate over it; then `ended` says how it ended."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        raw = connection.take_until(b"\r\n\r\n")
        if raw is None:
            raise ConnectionError("the connection ended before the headers")
        self.head = Head.parse(raw)
        # "clean" after the terminating chunk, "cut" without it, None while it is open.
        self.ended: str | None = None
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, comments too, until the answer ends."""
        while True:
            while b"\n\n" in self._text:
                raw, _, self._text = self._text.partition(b"\n\n")
                yield Frame(raw + b"\n\n")
            if self.ended is not None:
                return
            self._read_chunk()

    def events(self) -> Iterator[Frame]:
        """Yield every frame that is no comment."""
        return (frame for frame in self if not frame.is_comment)

    def until(self, event: str) -> list[Frame]:
        """Return the frames up to and with the first `event`; fail if none comes."""
        frames = []
        for frame in self.events():
            frames.append(frame)
            if frame.event == event:
                return frames
        raise AssertionError(f"no {event} but {[one.event or one.data for one in frames]}")

    def close(self) -> None:
        self.connection.close()

    def _read_chunk(self) -> None:
        assert self.head.is_chunked, self.head
        size = self.connection.take_until(b"\r\n")
        chunk = None if size is None else self.connection.take(int(size, 16) + 2)
        if chunk is None:
            self.ended = "cut"
        elif chunk == b"\r\n":
            self.ended = "clean"
        else:
            self._text += chunk[:-2]
