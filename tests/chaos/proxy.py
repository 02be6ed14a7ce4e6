"""TCP links that can be frozen, cut and broken, in a process of their own.

`python -m tests.chaos.proxy '{"name": [port, [target, …]], …}'`; commands are lines of JSON on
standard input, each answered by one line. `tests.chaos.links` speaks to it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

_PIECE = 65536
_NO_LINGER = struct.pack("ii", 1, 0)


class Link:
    """One listening port in front of one or more targets, used in turn."""

    def __init__(self, targets: list[int]) -> None:
        self._targets = targets
        self._turn = 0
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._is_cut = False

    async def listen(self, port: int) -> None:
        await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=1024)

    def freeze(self, is_on: bool) -> None:
        """Keep every connection open and pass nothing; new ones are accepted as well."""
        (self._flowing.clear if is_on else self._flowing.set)()

    def cut(self, is_on: bool) -> None:
        """Reset every connection and every new one."""
        self._is_cut = is_on
        if is_on:
            self.drop(1.0, random.Random(0))

    def drop(self, share: float, rng: random.Random) -> None:
        """Reset this share of the connections, chosen by `rng`."""
        for pair in [pair for pair in self._open if rng.random() < share]:
            for writer in pair:
                _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            return _reset(writer)
        await self._flowing.wait()
        for _ in self._targets:
            self._turn = (self._turn + 1) % len(self._targets)
            with suppress(OSError):
                upstream = await asyncio.open_connection("127.0.0.1", self._targets[self._turn])
                break
        else:
            return _reset(writer)
        pair = (writer, upstream[1])
        self._open.add(pair)
        try:
            await asyncio.gather(self._pump(reader, upstream[1]), self._pump(upstream[0], writer))
        finally:
            self._open.discard(pair)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes one way; an end is passed on as an end, a reset as a reset."""
        try:
            while data := await reader.read(_PIECE):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            await self._flowing.wait()
            writer.close()
        except OSError:
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


def _obey(links: dict[str, Link], command: dict[str, Any]) -> None:
    link = links[command["link"]]
    match command["do"]:
        case "freeze":
            link.freeze(command["on"])
        case "cut":
            link.cut(command["on"])
        case "drop":
            link.drop(command["share"], random.Random(command["seed"]))


async def _main(configured: dict[str, tuple[int, list[int]]]) -> None:
    links = {name: Link(targets) for name, (_, targets) in configured.items()}
    for name, (port, _) in configured.items():
        await links[name].listen(port)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    # Standard input ends with the process that started this one.
    while line := await commands.readline():
        _obey(links, json.loads(line))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
