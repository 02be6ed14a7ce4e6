"""What the benches share: calls to a server, their times, and the tables."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos import wire
from tests.chaos.cluster import Cluster
from tests.chaos.report import percentile

TENANT = "tenant1"


class Bench:
    """A quiet cluster of two servers; requests go to one of them, past the proxy."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.asker = cluster.headers("user123", TENANT)
        self.approver = cluster.headers("approver1", TENANT, "approver")

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: object = None,
        *,
        server: int = 0,
        timeout: float = 70.0,
    ) -> wire.Answer:
        """Send one request; raises `RuntimeError` for an answer that is no success."""
        port = self.cluster.server_ports[server]
        answer = await wire.exchange(port, method, path, headers, body, timeout=timeout)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer

    async def open(self, session_id: str | None = None) -> str:
        """Open a request and return its id."""
        body = {
            "sessionId": session_id or f"bench-{uuid.uuid4().hex}",
            "actionType": "pay_invoice",
            "context": {"amount": 100},
        }
        answer = await self.call("POST", "/aura/hitl/requests", self.asker, body)
        return str(answer.member("requestId"))

    async def approve(self, request_id: str, *, server: int = 0) -> None:
        path = f"/aura/hitl/approve/{request_id}"
        await self.call("POST", path, self.approver, server=server)

    async def cut_redis(self, is_on: bool) -> None:
        """Cut every server's link to Redis, or mend it."""
        for number in range(len(self.cluster.servers)):
            await self.cluster.links.cut(number, is_on)


class Timer:
    """Milliseconds of what runs inside `with`, collected."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.values.append((time.perf_counter() - self._began) * 1000)


def show(title: str, rows: Iterable[tuple[str, Sequence[float]]]) -> None:
    """Print milliseconds as a table; the last column is the p50 against that of the first row."""
    print(f"\n{title}\n  {'ms':36}{'n':>6}{'p50':>9}{'p99':>9}{'worst':>9}{'ratio':>7}")
    first: float | None = None
    for name, values in rows:
        middle = percentile(values, 50)
        first = middle if first is None else first
        figures = "".join(f"{percentile(values, p):9.1f}" for p in (50, 99, 100))
        print(f"  {name:36}{len(values):6d}{figures}{middle / first if first else 0:7.1f}")
