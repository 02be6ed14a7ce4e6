"""Runs sessions, each in a task that outlives the connection which started it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from structlog.stdlib import get_logger

from dwp_project.jsontext import parse
from dwp_project.offload import run_sync
from streaming import final_events, leases, log, resume
from streaming.agents import registry
from streaming.agents.base import AgentEvent, AgentTask, GateClosed, Withdrawn
from streaming.gate import SessionGate
from streaming.lease_keeper import RunningSession, lease_keeper
from streaming.models import Event, Session
from streaming.resume import SessionLost
from streaming.writer import Diverged, Writer, retry_until_database_answers

logger = get_logger(__name__)

# How long an agent may take to end when its session is cancelled. Chosen: it can finish a call to
# another system, and the client still sees the end.
_GRACE_SECONDS = 5.0

_CANCELLED = "The session was cancelled."


def start(session: Session) -> asyncio.Task[None]:
    """Run `session` in a task until it ends, from its first event or after those recorded.

    This process must own the session's lease. After `release_all` the lease is released instead,
    for another process to take.
    """
    name = f"session-{session.session_id}"
    keeper = lease_keeper()
    if keeper.is_closed:
        return asyncio.create_task(_release(session), name=name)
    run = RunningSession(session)
    return keeper.add(run, _run_session(run), name)


async def release_all() -> None:
    """Stop the sessions of this process without final events and start none any more.

    Other processes resume them at once. Takes at most three seconds and may be called again.
    """
    await lease_keeper().release()


def is_drained() -> bool:
    """Say whether this process has released its sessions and starts none any more."""
    return lease_keeper().is_closed


def running_here() -> list[int]:
    """Return the primary keys of the sessions that run in this process."""
    return lease_keeper().keys


async def _release(session: Session) -> None:
    try:
        await run_sync(leases.release, [session.pk])
    except Exception as exc:
        logger.warning("leases_not_released", error=str(exc).strip())


async def _run_session(run: RunningSession) -> None:
    session = run.session
    try:
        try:
            if session.cancel_requested_at is not None:
                raise log.SessionCancelled(session.session_id)
            recorded = await retry_until_database_answers(resume.events_to_repeat, session)
        except (log.SessionCancelled, SessionLost) as exc:
            writer = _writer(session)
            end = await _withdraw_and_end(session, exc)
        else:
            writer = _writer(session, recorded)
            end = await _run_agent(run, writer, recorded)
        await _close(writer, end)
    except log.SessionEnded:
        logger.warning("session_ended_elsewhere", session_id=session.session_id)


async def _close(writer: Writer, end: final_events.FinalEvents) -> None:
    """Append a session's final events; if those cannot be stored, simpler ones."""
    events, status = end
    try:
        await writer.append(events, ending=status)
    except log.SessionEnded:
        raise
    except Exception as exc:
        logger.error("closing_events_refused", exc_info=exc)
        events, status = final_events.failed(RuntimeError(type(exc).__name__))
        await writer.append(events, ending=status)


def _writer(session: Session, recorded: Sequence[Event] = ()) -> Writer:
    return Writer(
        session.pk, lease=session.lease_number, sequence=session.last_sequence, recorded=recorded
    )


async def _run_agent(
    run: RunningSession, writer: Writer, recorded: Sequence[Event]
) -> final_events.FinalEvents:
    """Run the agent to its end and return the session's final events."""
    session = run.session
    gate = SessionGate(session, writer)
    try:
        if session.last_sequence == 0:
            await writer.append([AgentEvent("start", {"message": "Session started"})])
        await _work_unless_cancelled(run, _work(session, writer, gate, recorded))
        return final_events.completed()
    except log.SessionEnded:
        raise
    except GateClosed as closed:
        return final_events.stopped(session.session_id, closed)
    except log.SessionCancelled:
        # `sessions.cancel` withdraws the request, so that the audit names who cancelled.
        return final_events.stopped(session.session_id, Withdrawn(_CANCELLED))
    except Diverged as exc:
        return await _withdraw_and_end(session, exc)
    except Exception as exc:
        logger.error("agent_failed", session_id=session.session_id, exc_info=exc)
        try:
            await gate.noted()
            writer.check_all_repeated(f"{type(exc).__name__}: {exc}")
        except Diverged as diverged:
            return await _withdraw_and_end(session, diverged)
        return final_events.failed(exc)


async def _withdraw_and_end(session: Session, exc: Exception) -> final_events.FinalEvents:
    """Withdraw the session's pending request and return its final events."""
    if isinstance(exc, log.SessionCancelled):
        await retry_until_database_answers(resume.withdraw_question, session, _CANCELLED)
        return final_events.stopped(session.session_id, Withdrawn(_CANCELLED))
    logger.warning("session_lost", session_id=session.session_id, reason=str(exc))
    reason = str(exc if isinstance(exc, SessionLost) else SessionLost(str(exc)))
    request_id = await retry_until_database_answers(resume.withdraw_question, session, reason)
    return final_events.lost(session.session_id, reason, request_id)


async def _work_unless_cancelled(run: RunningSession, working: Coroutine[Any, Any, None]) -> None:
    """Let the agent work; raise `SessionCancelled` if somebody cancels the session meanwhile."""
    work = asyncio.create_task(working)
    try:
        await asyncio.wait({work, run.cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.wait({work}, timeout=_GRACE_SECONDS)
        raise log.SessionCancelled(run.session.session_id)
    finally:
        work.cancel()


async def _work(
    session: Session, writer: Writer, gate: SessionGate, recorded: Sequence[Event]
) -> None:
    task = AgentTask(
        session_id=session.session_id,
        tenant_id=session.tenant_id,
        user_id=session.user_id,
        prompt=session.prompt,
        context=parse(session.context_text),
        thread_id=session.thread_id or None,
        recorded=await run_sync(resume.as_agent_events, recorded),
    )
    async with aclosing(_agent_events(session, task, gate)) as stream:
        async for event in stream:
            gate.check()
            await writer.append([event])
    gate.check()
    await gate.noted()
    writer.check_all_repeated()


def _agent_events(session: Session, task: AgentTask, gate: SessionGate) -> Any:
    return registry.agent(session.agent).run(task, gate)
