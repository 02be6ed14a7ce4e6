"""A process with many clients: `python -m tests.bench.crowd`, with what they do as a line of JSON
on its input.

It prints `ready` when all of them wait, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence

from tests.chaos import wire
from tests.chaos.processes import CHECKOUT, inherited

# How many clients come at once. Chosen: a server's line of new connections is not full.
_AT_ONCE = 16
_SILENCE_SECONDS = 60.0


class Crowd:
    """Clients of the server at `port`, in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def open(
        cls,
        port: int,
        headers: Mapping[str, str],
        *,
        paths: Sequence[str] = (),
        agents: int = 0,
    ) -> Crowd:
        """Watch each of `paths`, and start so many agents and watch them wait."""
        described = {"port": port, "headers": dict(headers), "paths": paths, "agents": agents}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.crowd"),
            cwd=CHECKOUT,
            env=inherited(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(described).encode() + b"\n")
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError("not every client of a crowd was served")
        return cls(process)

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def _stay(port: int, headers: Mapping[str, str], paths: Sequence[str], agents: int) -> None:
    places, waiting = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(0)

    async def client(path: str | None) -> None:
        await places.acquire()
        stream = await wire.EventStream.open(
            port,
            path or "/aura/test/stream",
            headers,
            None if path else {"prompt": "Delete 3 emails"},
            60.0,
            method="GET" if path else "POST",
        )
        async for frame in stream.frames(_SILENCE_SECONDS):
            if frame.event == "hitl":
                places.release()
                waiting.release()
        raise RuntimeError("a stream has ended")

    async with asyncio.TaskGroup() as group:
        for path in (*paths, *[None] * agents):
            group.create_task(client(path))
        for _ in range(len(paths) + agents):
            await waiting.acquire()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        raise SystemExit


if __name__ == "__main__":
    described = json.loads(sys.stdin.readline())
    asyncio.run(
        _stay(described["port"], described["headers"], described["paths"], described["agents"])
    )
