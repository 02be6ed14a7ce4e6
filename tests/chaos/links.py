"""The proxy's process, and the commands it takes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.chaos.processes import CHECKOUT, inherited

CLIENTS = "clients"


class Links:
    """One port for the clients in front of all servers, one for each server in front of Redis."""

    def __init__(self, front: int, servers: list[int], redis: int, redis_ports: list[int]) -> None:
        self.front = front
        self._configured: dict[str, tuple[int, list[int]]] = {CLIENTS: (front, servers)}
        for number, port in enumerate(redis_ports):
            self._configured[f"redis {number}"] = (port, [redis])
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def start(self, log: Path) -> None:
        with log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.chaos.proxy",
                json.dumps(self._configured),
                cwd=CHECKOUT,
                env=inherited(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
            )
        await self._answer("ready")

    async def freeze(self, number: int, is_on: bool) -> None:
        await self._tell({"do": "freeze", "link": f"redis {number}", "on": is_on})

    async def cut(self, number: int, is_on: bool) -> None:
        await self._tell({"do": "cut", "link": f"redis {number}", "on": is_on})

    async def drop_clients(self, share: float, seed: str) -> None:
        await self._tell({"do": "drop", "link": CLIENTS, "share": share, "seed": seed})

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _tell(self, command: dict[str, object]) -> None:
        async with self._lock:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._answer("done")

    async def _answer(self, wanted: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        if line != wanted:
            raise RuntimeError(f"the proxy answered {line!r} instead of {wanted!r}")
