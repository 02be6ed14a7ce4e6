"""Writes the events of a running session: in order, under its lease, again while the database is
away, and without repeating what an earlier run has recorded."""

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

# Pauses between two tries while the database is away. Chosen: a short outage delays a session
# little, and a long one costs each session a query every two seconds.
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class Diverged(Exception):
    """A resumed agent has not repeated the events that are recorded."""

    def __init__(self, recorded: Event, instead: str) -> None:
        super().__init__(
            f"Run again, the agent did not repeat its event {recorded.sequence}: "
            f"recorded is {recorded.name}, now came {instead}."
        )


class Writer:
    """Appends to the events of one session after the sequence of the last.

    `recorded` are the events of an earlier run: the agent must yield the same in the same order,
    and they are skipped.
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
        """Append events, except recorded ones; wait for a database that is away.

        Raises what `log.append` raises, and `Diverged` for an event that differs from the recorded
        one.
        """
        if ending is None and not (
            new := [event for event in new if not self._skip_if_recorded(event)]
        ):
            # Without this, a long recording would block the event loop.
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
        """Run `step(after, lease, …)` in a thread, again while the database is away.

        `step` appends after sequence `after` and returns the new last sequence and its result;
        the result is returned here. It must be safe to repeat: a commit whose answer was lost may
        have happened.
        """
        for pause in _pauses():
            call = asyncio.ensure_future(
                run_sync(step, self._sequence, self._lease, *args, **kwargs)
            )
            try:
                self._sequence, result = await asyncio.shield(call)
            except asyncio.CancelledError:
                # The thread commits nevertheless, and final events must be appended after that.
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
        """Remove and return the next recorded event, or None without one.

        Raises `Diverged` if its name is not `name`.
        """
        if not self._recorded:
            return None
        if self._recorded[0].name != name:
            raise Diverged(self._recorded[0], name)
        return self._recorded.popleft()

    def check_all_repeated(self, instead: str = "its end") -> None:
        """Raise `Diverged` unless the agent has repeated every recorded event."""
        if self._recorded:
            raise Diverged(self._recorded[0], instead)

    def confirm_lease(self) -> None:
        """Renew the lease, so that nobody takes over while the agent acts; raise `LeaseLost`."""
        if not leases.confirm(self._session_pk, self._lease):
            raise log.LeaseLost(f"session {self._session_pk}, lease {self._lease}")

    def _skip_if_recorded(self, event: AgentEvent) -> bool:
        recorded = self.pop_recorded(event.type)
        if recorded is None:
            return False
        if not events.is_payload_of(recorded.payload, event.type, event.fields):
            raise Diverged(recorded, f"another {event.type}")
        return True


async def retry_until_database_answers(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `function` in a thread, again while the database is away; it must be safe to repeat."""
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
