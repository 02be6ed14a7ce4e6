"""Runs sessions: a task for each, which outlives the connection that started it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from structlog.stdlib import get_logger

from dwp_project.jsontext import parse
from dwp_project.offload import run_sync
from dwp_project.wakeup import REREAD_SECONDS, hub
from streaming import log, sessions
from streaming.agents import registry
from streaming.agents.base import AgentEvent, AgentTask, GateClosed, Rejected, TimedOut, Withdrawn
from streaming.gate import SessionGate
from streaming.models import Session, SessionStatus
from streaming.writer import Writer

logger = get_logger(__name__)

# How long an agent may take to end when its session is cancelled.
_GRACE_SECONDS = 5.0

# The event loop keeps only weak references to tasks.
_running: set[asyncio.Task[None]] = set()


def start(session: Session) -> asyncio.Task[None]:
    """Run `session` in this process, from its first event to `[DONE]`."""
    task = asyncio.create_task(_run(session), name=f"session-{session.session_id}")
    _running.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.error("session_broken", task=task.get_name(), exc_info=exc)


async def _run(session: Session) -> None:
    writer = Writer(session.pk, session.last_sequence)
    gate = SessionGate(session, writer)
    try:
        try:
            await writer.append([AgentEvent("start", {"message": "Session started"})])
            await _work_or_cancellation(session, writer, gate)
            closing, status = _completed()
        except log.SessionEnded:
            raise
        except GateClosed as closed:
            closing, status = _stopped(session, closed)
        except log.SessionCancelled:
            closing, status = _stopped(session, Withdrawn("The session was cancelled."))
        except Exception as exc:
            logger.error("agent_failed", session_id=session.session_id, exc_info=exc)
            closing, status = _failed(exc)
        await writer.append(closing, ending=status)
    except log.SessionEnded:
        logger.warning("session_ended_elsewhere", session_id=session.session_id)


async def _work_or_cancellation(session: Session, writer: Writer, gate: SessionGate) -> None:
    """Let the agent work until it is done or somebody cancels the session."""
    work = asyncio.create_task(_work(session, writer, gate))
    watch = asyncio.create_task(_until_cancelled(session.pk))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.wait({work}, timeout=_GRACE_SECONDS)
        raise log.SessionCancelled(session.session_id)
    finally:
        work.cancel()
        watch.cancel()


async def _work(session: Session, writer: Writer, gate: SessionGate) -> None:
    task = AgentTask(
        session_id=session.session_id,
        tenant_id=session.tenant_id,
        user_id=session.user_id,
        prompt=session.prompt,
        context=parse(session.context_text),
        thread_id=session.thread_id or None,
    )
    async with aclosing(_generator(session, task, gate)) as stream:
        async for event in stream:
            gate.check()
            await writer.append([event])
    gate.check()


def _generator(session: Session, task: AgentTask, gate: SessionGate) -> Any:
    return registry.agent(session.agent).run(task, gate)


async def _until_cancelled(session_pk: int) -> None:
    async with hub().subscribe(sessions.control_topic(session_pk)) as subscription:
        while True:
            try:
                if await run_sync(sessions.is_cancel_requested, session_pk):
                    return
            except Exception as exc:
                logger.warning("database_away", error=str(exc).strip())
            await subscription.next(REREAD_SECONDS)


def _completed() -> tuple[Sequence[AgentEvent], SessionStatus]:
    return [_end("Session completed", "completed")], SessionStatus.COMPLETED


def _stopped(session: Session, closed: GateClosed) -> tuple[Sequence[AgentEvent], SessionStatus]:
    """Return the closing events of wire.md 4.4 for a question that got no yes."""
    match closed:
        case Rejected():
            error = _error(closed.reason, closed.error_type, "The request was rejected.")
            return [error], SessionStatus.REJECTED
        case TimedOut():
            late = "The request was not answered in time."
            failed = AgentEvent(
                "failed",
                {
                    "message": late,
                    "error": closed.reason,
                    "errorType": closed.error_type,
                    "requestId": closed.request_id,
                    "sessionId": session.session_id,
                },
            )
            error = _error(closed.reason, closed.error_type, late)
            return [failed, error, _end("Session failed", "failed")], SessionStatus.FAILED
        case _:
            error = _error(closed.reason, closed.error_type, closed.reason)
            return [error, _end("Session cancelled", "failed")], SessionStatus.CANCELLED


def _failed(exc: Exception) -> tuple[Sequence[AgentEvent], SessionStatus]:
    error = _error(str(exc) or type(exc).__name__, type(exc).__name__, "The agent failed.")
    return [error, _end("Session failed", "failed")], SessionStatus.FAILED


def _error(error: str, error_type: str, message: str) -> AgentEvent:
    return AgentEvent("error", {"error": error, "errorType": error_type, "message": message})


def _end(message: str, status: str) -> AgentEvent:
    return AgentEvent("end", {"message": message, "status": status})
