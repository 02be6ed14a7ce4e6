"""HTTP/1.1 for hundreds of clients in one loop: whole answers, and streams that say how they
ended. A connection of its own for every request, as faults hit connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.history import Frame


class ConnectionBroken(Exception):
    """The connection failed, or nothing came for too long, before the answer was whole."""


_FAILURES = (OSError, EOFError, TimeoutError, ValueError, IndexError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    # By their names in small letters.
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Any:
        """The envelope's `data`, or None."""
        try:
            return json.loads(self.body).get("data")
        except (ValueError, AttributeError):
            return None

    def member(self, name: str) -> str | None:
        """Return a text member of `data` where that is an object."""
        value = self.data.get(name) if isinstance(self.data, dict) else None
        return value if isinstance(value, str) else None


async def exchange(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: object = None,
    *,
    timeout: float = 10.0,
) -> Answer:
    """Send one request and return its answer; raises `ConnectionBroken`."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_request(method, path, headers, body))
            status, fields = await _head(reader)
            content = b"".join([piece async for piece in _body(reader, fields)])
            return Answer(status, content, fields)
    except _FAILURES as exc:
        raise ConnectionBroken(f"{type(exc).__name__}: {exc}") from exc
    finally:
        if writer is not None:
            writer.transport.abort()


class EventStream:
    """An answer in frames. Iterate over it; afterwards `is_clean` says whether it ended well."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._fields: dict[str, str] = {}
        self.status = 0
        self.body = b""
        self.is_clean = False
        # Seconds after which the server asked to come back.
        self.retry: float | None = None

    @classmethod
    async def open(
        cls,
        port: int,
        path: str,
        headers: Mapping[str, str],
        body: object,
        timeout: float,
        *,
        method: str = "POST",
    ) -> EventStream:
        """Start a stream and read its head; raises `ConnectionBroken`."""
        try:
            async with asyncio.timeout(timeout):
                stream = cls(*await asyncio.open_connection("127.0.0.1", port))
        except _FAILURES as exc:
            raise ConnectionBroken(f"{type(exc).__name__}: {exc}") from exc
        try:
            async with asyncio.timeout(timeout):
                stream._writer.write(_request(method, path, headers, body))
                stream.status, stream._fields = await _head(stream._reader)
                if stream.status != 200:
                    pieces = [piece async for piece in _body(stream._reader, stream._fields)]
                    stream.body = b"".join(pieces)
        except _FAILURES as exc:
            stream.close()
            raise ConnectionBroken(f"{type(exc).__name__}: {exc}") from exc
        return stream

    async def frames(self, silence: float) -> AsyncIterator[Frame]:
        """Yield frames until the answer ends or nothing at all comes for `silence` seconds."""
        text = b""
        pieces = _body(self._reader, self._fields)
        try:
            while True:
                async with asyncio.timeout(silence):
                    piece = await anext(pieces, None)
                if piece is None:
                    self.is_clean = not text
                    return
                text += piece
                while b"\n\n" in text:
                    raw, _, text = text.partition(b"\n\n")
                    if (frame := self._parse(raw.decode())) is not None:
                        yield frame
        except _FAILURES:
            return

    def close(self) -> None:
        self._writer.transport.abort()

    def _parse(self, raw: str) -> Frame | None:
        fields: dict[str, str] = {}
        for line in raw.split("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        if fields.get("retry", "").isdigit():
            self.retry = int(fields["retry"]) / 1000
        if "data" not in fields:
            return None
        number = fields.get("id")
        return Frame(None if number is None else int(number), fields.get("event"), fields["data"])


def _request(method: str, path: str, headers: Mapping[str, str], body: object) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "localhost", "Connection": "close", **headers}
    if body is not None:
        fields |= {"Content-Type": "application/json"}
    fields |= {"Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Yield the body's pieces; raises `EOFError` if the connection ends before it does."""
    if fields.get("transfer-encoding", "").lower() != "chunked":
        yield await reader.readexactly(int(fields.get("content-length", "0")))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
