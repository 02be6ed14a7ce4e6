"""The final events of a session, a function for each way it ends (docs/reference/wire.md, 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.agents.base import AgentEvent, GateClosed, Rejected, TimedOut
from streaming.models import SessionStatus

# The events to append, and the status in which the session ends.
FinalEvents = tuple[Sequence[AgentEvent], SessionStatus]

# How much of an agent's exception is sent. Chosen: a message in full, not a whole dump.
_MAX_CHARACTERS = 2000


def completed() -> FinalEvents:
    """Return the end of a session whose agent has finished."""
    return [_end("Session completed", "completed")], SessionStatus.COMPLETED


def stopped(session_id: str, closed: GateClosed) -> FinalEvents:
    """Return the end of a session whose request was not approved."""
    match closed:
        case Rejected():
            error = _error(closed.reason, closed.error_type, "The request was rejected.")
            return [error], SessionStatus.REJECTED
        case TimedOut():
            message = "The request was not answered in time."
            return _failed_with_event(
                session_id, message, closed.reason, closed.error_type, closed.request_id
            )
        case _:
            error = _error(closed.reason, closed.error_type, closed.reason)
            return [error, _end("Session cancelled", "failed")], SessionStatus.CANCELLED


def lost(session_id: str, reason: str, request_id: str | None) -> FinalEvents:
    """Return the end of a session that lost its process and cannot be resumed.

    `request_id` is the request that was withdrawn, if there was one.
    """
    message = "The session could not be carried on."
    return _failed_with_event(session_id, message, reason, "SessionLost", request_id or "")


def failed(exc: Exception) -> FinalEvents:
    """Return the end of a session whose agent raised `exc`."""
    error = _error(_text_of(exc), type(exc).__name__, "The agent failed.")
    return [error, _end("Session failed", "failed")], SessionStatus.FAILED


def _text_of(exc: Exception) -> str:
    """Return the message of an agent's exception as text that can be stored and sent."""
    try:
        text = str(exc)[:_MAX_CHARACTERS]
    except Exception:  # `__str__` is code of the agent and can fail too
        text = ""
    return text.encode("utf-8", "replace").decode() or type(exc).__name__


def _failed_with_event(
    session_id: str, message: str, reason: str, error_type: str, request_id: str | None
) -> FinalEvents:
    failed = AgentEvent(
        "failed",
        {
            "message": message,
            "error": reason,
            "errorType": error_type,
            "requestId": request_id,
            "sessionId": session_id,
        },
    )
    error = _error(reason, error_type, message)
    return [failed, error, _end("Session failed", "failed")], SessionStatus.FAILED


def _error(error: str, error_type: str, message: str) -> AgentEvent:
    return AgentEvent("error", {"error": error, "errorType": error_type, "message": message})


def _end(message: str, status: str) -> AgentEvent:
    return AgentEvent("end", {"message": message, "status": status})
