"""An operator's browser that watches one of the desk's live streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.test import Client

from tests import factories
from tests.integration.exchange import Exchange


def cookie(username: str = "desk", role: str | None = "approver", **user: Any) -> dict[str, str]:
    """Make an operator and return the header of their browser."""
    client = Client()
    client.force_login(factories.user(username, role=role, **{"is_staff": True, **user}))
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


class Watching:
    """A page's end of a live stream."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.seen = b""

    async def next(self, name: str = "standing", within: float = 15.0) -> dict[str, Any]:
        """Return the data of the next event of this name."""
        while True:
            while b"\n\n" in self.seen:
                frame, _, self.seen = self.seen.partition(b"\n\n")
                lines = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
                if lines.get("event") == name:
                    data = json.loads(lines["data"])
                    assert isinstance(data, dict)
                    return data
            assert not self.exchange.is_complete, "the stream has ended"
            self.seen += await self.exchange.piece(within)


@asynccontextmanager
async def watching(path: str, headers: dict[str, str]) -> AsyncIterator[Watching]:
    async with Exchange("GET", path, headers=headers) as exchange:
        status, answered = await exchange.start()
        assert status == 200
        assert answered["content-type"] == "text/event-stream"
        yield Watching(exchange)
