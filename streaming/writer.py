"""The one pen of a running session: writes in order, and tries again while the database is
away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError
from structlog.stdlib import get_logger

from dwp_project.offload import run_sync
from streaming import log
from streaming.agents.base import AgentEvent
from streaming.models import SessionStatus

logger = get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class Writer:
    """Appends to one session's events, knowing the sequence of the last."""

    def __init__(self, session_pk: int, sequence: int = 0) -> None:
        self._session_pk = session_pk
        self._sequence = sequence

    async def append(
        self, new: Sequence[AgentEvent], *, ending: SessionStatus | None = None
    ) -> None:
        """Append events; raises as `log.append` does, but waits for the database."""

        def step(after: int) -> tuple[int, None]:
            return log.append(self._session_pk, new, after=after, ending=ending), None

        await self.write(step)

    async def write(
        self,
        step: Callable[Concatenate[int, P], tuple[int, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `step(after, …)` in a thread and return its result.

        `step` appends behind sequence `after` and returns the new last sequence beside its
        result. It must bear being repeated: a commit whose answer was lost may have happened.
        """
        for attempt in _attempts():
            call = asyncio.ensure_future(run_sync(step, self._sequence, *args, **kwargs))
            try:
                self._sequence, result = await asyncio.shield(call)
            except asyncio.CancelledError:
                # The thread commits all the same: what it has appended must be known.
                await asyncio.wait([call])
                if not call.cancelled() and call.exception() is None:
                    self._sequence = call.result()[0]
                raise
            except (OperationalError, InterfaceError) as exc:
                logger.warning("events_wait_for_database", error=str(exc).strip())
                await asyncio.sleep(attempt)
            else:
                return result
        raise AssertionError("attempts never end")


def _attempts() -> Any:
    yield from _RETRY_SECONDS
    while True:
        yield _RETRY_SECONDS[-1]
