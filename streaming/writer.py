"""The one pen of a running session: writes in order, under the session's lease, and tries again
while the database is away. Of what an earlier run has recorded it writes nothing twice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from structlog.stdlib import get_logger

from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from streaming import events, leases, log
from streaming.agents.base import AgentEvent
from streaming.models import Event, SessionStatus

logger = get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class Diverged(Exception):
    """A resumed agent did not do again what is recorded of it."""

    def __init__(self, recorded: Event, instead: str) -> None:
        super().__init__(
            f"Run again, the agent did not repeat its event {recorded.sequence}: "
            f"recorded is {recorded.name}, now came {instead}."
        )


class Writer:
    """Appends to one session's events, knowing the sequence of the last.

    `recorded` is what an earlier run left behind: the same is expected again, in the same
    order, and skipped.
    """

    def __init__(
        self,
        session_pk: int,
        *,
        lease: int,
        sequence: int = 0,
        recorded: Sequence[Event] = (),
    ) -> None:
        self._session_pk = session_pk
        self._lease = lease
        self._sequence = sequence
        self._recorded = deque(recorded)

    async def append(
        self, new: Sequence[AgentEvent], *, ending: SessionStatus | None = None
    ) -> None:
        """Append events; raises as `log.append` does, but waits for the database.

        Raises `Diverged` for an event that differs from the recorded one.
        """
        if ending is None and not (
            new := [event for event in new if not self._skip_if_recorded(event)]
        ):
            # A long recording must not keep the event loop from everybody else.
            return await asyncio.sleep(0)

        def step(after: int, lease: int) -> tuple[int, None]:
            return log.append(self._session_pk, new, after=after, lease=lease, ending=ending), None

        await self.write(step)

    async def write(
        self,
        step: Callable[Concatenate[int, int, P], tuple[int, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `step(after, lease, …)` in a thread and return its result.

        `step` appends behind sequence `after` and returns the new last sequence beside its
        result. It must bear being repeated: a commit whose answer was lost may have happened.
        """
        for pause in _pauses():
            call = asyncio.ensure_future(
                run_sync(step, self._sequence, self._lease, *args, **kwargs)
            )
            try:
                self._sequence, result = await asyncio.shield(call)
            except asyncio.CancelledError:
                # The thread commits all the same: what it has appended must be known.
                await asyncio.wait([call])
                if not call.cancelled() and call.exception() is None:
                    self._sequence = call.result()[0]
                raise
            except DATABASE_AWAY as exc:
                logger.warning("events_wait_for_database", error=str(exc).strip())
                await asyncio.sleep(pause)
            else:
                return result
        raise AssertionError("attempts never end")

    def pop_recorded(self, name: str) -> Event | None:
        """Return the next recorded event if there is one, which must be a `name`; it is then
        behind us. Raises `Diverged`."""
        if not self._recorded:
            return None
        if self._recorded[0].name != name:
            raise Diverged(self._recorded[0], name)
        return self._recorded.popleft()

    def check_all_repeated(self, instead: str = "its end") -> None:
        """Raise `Diverged` unless the agent has done again all that is recorded."""
        if self._recorded:
            raise Diverged(self._recorded[0], instead)

    async def confirm_lease(self) -> None:
        """Return if the session is still this run's, and stays so for some seconds.

        Raises `LeaseLost`; waits for a database that is away.
        """
        if not await retry_until_database_answers(leases.confirm, self._session_pk, self._lease):
            raise log.LeaseLost(f"session {self._session_pk}, lease {self._lease}")

    def _skip_if_recorded(self, event: AgentEvent) -> bool:
        kept = self.pop_recorded(event.type)
        if kept is not None and not events.is_payload_of(kept.payload, event.type, event.fields):
            raise Diverged(kept, f"another {event.type}")
        return kept is not None


async def retry_until_database_answers(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `function`, which must bear being repeated, in a thread until the database is there."""
    for pause in _pauses():
        try:
            return await run_sync(function, *args, **kwargs)
        except DATABASE_AWAY as exc:
            logger.warning("database_away", error=str(exc).strip())
            await asyncio.sleep(pause)
    raise AssertionError("attempts never end")


def _pauses() -> Iterator[float]:
    yield from _RETRY_SECONDS
    while True:
        yield _RETRY_SECONDS[-1]
