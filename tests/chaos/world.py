"""What every client of a run shares: the way in, the history, chance, and when to stop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

from tests.chaos import wire
from tests.chaos.cluster import Cluster
from tests.chaos.history import History, Question, Unexpected

TENANTS = 6
# What an answer may be while something is away: the database, or a server behind the proxy.
_AGAIN = frozenset({503, 504})


class World:
    """One run as its clients see it.

    Each client draws from a `Random` of its own, made from the seed and its name, so that its
    choices are the same in every run of that seed, whatever the others do.
    """

    def __init__(
        self,
        label: str,
        patience: float,
        cluster: Cluster,
        history: History,
        port: int,
        tenants: int,
    ) -> None:
        # The seed, and which deployment it is: in every name, so that each is there once.
        self.label = label
        self.cluster, self.history = cluster, history
        # Where the deployment answers.
        self.port = port
        self.tenants = [f"tenant{number}" for number in range(tenants)]
        # How many seconds people think before they decide, on average; other times go by it.
        self.patience = patience
        self.decisions = 0
        # How many questions each requester has asked.
        self.turns: Counter[str] = Counter()
        # No new conversation begins.
        self.is_closing = False
        # Waiting is over: what did not end by now never will.
        self.is_over = asyncio.Event()
        self.on_question: Callable[[Question], None] = lambda question: None
        # Starts what may go on until waiting is over, and is no conversation that must end before.
        self.start: Callable[[Coroutine[Any, Any, None]], object] = asyncio.ensure_future

    def random(self, name: str) -> Random:
        return Random(f"{self.label}:{name}")

    def tenant(self, number: int) -> str:
        return self.tenants[number % len(self.tenants)]

    def ask(self, question: Question) -> None:
        """Make a question known to those who decide, once."""
        if question.request_id not in self.history.questions:
            self.history.questions[question.request_id] = question
            self.on_question(question)

    def unexpected(self, what: str) -> None:
        self.history.unexpected.append(Unexpected(time.time(), what))

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the run."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.is_over.wait()
        except TimeoutError:
            return

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: object = None,
        *,
        timeout: float = 10.0,
    ) -> wire.Answer | None:
        """Send one request through the proxy; return its answer.

        None when the connection broke or the server said that something is away: nobody
        knows then whether it was done, and the caller tries again.
        """
        try:
            answer = await wire.exchange(self.port, method, path, headers, body, timeout=timeout)
        except wire.ConnectionBroken:
            return None
        if answer.status in _AGAIN:
            return None
        if answer.status >= 500:
            self.unexpected(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
            return None
        return answer

    async def call_until_answered(self, *request: Any, rng: Random) -> wire.Answer | None:
        """Repeat a request that may be repeated; None only when the run is over."""
        while not self.is_over.is_set():
            if (answer := await self.call(*request)) is not None:
                return answer
            await self.sleep(rng.uniform(0.1, 0.8))
        return None
