"""Every way the work of a session ends, and its final events (docs/reference/wire.md, 4.4)."""

from __future__ import annotations

import pytest

from streaming import events, final_events
from streaming.agents.base import GateClosed, Rejected, TimedOut, Withdrawn
from streaming.final_events import FinalEvents
from streaming.models import SessionStatus

SESSION = "session_1"


class Unprintable(Exception):
    """Fails even where it is asked what it says."""

    def __str__(self) -> str:
        raise LookupError


def names(end: FinalEvents) -> list[str]:
    return [event.type for event in end[0]]


@pytest.mark.parametrize(
    ("end", "expected", "status"),
    [
        (final_events.completed(), ["end"], SessionStatus.COMPLETED),
        (
            final_events.stopped(SESSION, Rejected("no", request_id="r-1")),
            ["error"],
            SessionStatus.REJECTED,
        ),
        (
            final_events.stopped(SESSION, TimedOut("late", request_id="r-1")),
            ["failed", "error", "end"],
            SessionStatus.FAILED,
        ),
        (
            final_events.stopped(SESSION, Withdrawn("gone")),
            ["error", "end"],
            SessionStatus.CANCELLED,
        ),
        (
            final_events.lost(SESSION, "why", "r-1"),
            ["failed", "error", "end"],
            SessionStatus.FAILED,
        ),
        (final_events.lost(SESSION, "why", None), ["failed", "error", "end"], SessionStatus.FAILED),
        (final_events.failed(LookupError("x")), ["error", "end"], SessionStatus.FAILED),
    ],
    ids=["completed", "rejected", "timed-out", "withdrawn", "lost", "lost-unasked", "failed"],
)
def test_end_has_the_events_and_the_status_of_the_wire(
    end: FinalEvents, expected: list[str], status: SessionStatus
) -> None:
    assert names(end) == expected
    assert end[1] == status
    for event in end[0]:  # raises for a field that the table does not have, or lacks
        events.payload(event.type, event.fields, session_id=SESSION, timestamp=0)


@pytest.mark.parametrize(
    ("closed", "error_type"),
    [
        (Rejected("no"), "RejectionError"),
        (TimedOut("late"), "TimeoutError"),
        (Withdrawn("gone"), "CancelledError"),
    ],
)
def test_error_of_a_stopped_session_gives_type_and_reason(
    closed: GateClosed, error_type: str
) -> None:
    error = next(e for e in final_events.stopped(SESSION, closed)[0] if e.type == "error")

    assert error.fields["errorType"] == error_type
    assert error.fields["error"] == closed.reason


def test_failed_event_of_a_lost_session_names_session_and_request() -> None:
    [failed, *_], _ = final_events.lost(SESSION, "why", "r-1")

    assert (failed.fields["sessionId"], failed.fields["requestId"]) == (SESSION, "r-1")
    assert (failed.fields["error"], failed.fields["errorType"]) == ("why", "SessionLost")


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (LookupError("no mailbox"), "no mailbox"),
        (LookupError(), "LookupError"),
        (LookupError("half \ud800"), "half ?"),
        (LookupError("x" * 100_000), "x" * 2000),
        (Unprintable(), "Unprintable"),
    ],
    ids=["plain", "empty", "surrogate", "long", "unprintable"],
)
def test_error_of_a_failed_agent_can_be_stored_and_sent(exc: Exception, text: str) -> None:
    [error, _], _ = final_events.failed(exc)

    assert error.fields["error"] == text
    assert error.fields["errorType"] == type(exc).__name__
