"""What a session that lost its process is resumed from, and what is withdrawn if it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from django.core.exceptions import ImproperlyConfigured

from hitl import errors, services
from hitl.actors import recovery_actor
from hitl.models import ApprovalRequest
from streaming import events, replay
from streaming.agents import registry
from streaming.agents.base import AgentEvent
from streaming.models import Event, Session

# A session that crashes every process that runs it must not be taken over for ever. Chosen:
# more than two weeks of a crash every hour.
_MAX_TAKEOVERS = 400

_LOST = "The process that ran this session ended, and {why}. Send the prompt again."


class SessionLost(Exception):
    """The session's process is gone and its agent cannot go on."""

    def __init__(self, why: str) -> None:
        super().__init__(_LOST.format(why=why))


def events_to_repeat(session: Session) -> Sequence[Event]:
    """Return the events after `start` that an earlier run has recorded; none for a new session.

    Raises `SessionLost` if the agent cannot be run again from these.
    """
    if session.last_sequence == 0:
        return ()  # nothing was recorded, so nothing was done: even an agent that cannot resume
    if session.lease_number > _MAX_TAKEOVERS:
        raise SessionLost(f"it has changed hands {_MAX_TAKEOVERS} times")
    try:
        agent = registry.agent(session.agent)
    except ImproperlyConfigured as exc:
        raise SessionLost("its agent is not configured any more") from exc
    if not agent.can_resume:
        raise SessionLost("its agent cannot resume")
    recorded = replay.recorded_events(session.pk)
    if not recorded or recorded[0].sequence != 1:
        raise SessionLost("its first events are no longer kept")
    return recorded[1:]


def as_agent_events(recorded: Sequence[Event]) -> tuple[AgentEvent, ...]:
    """Return recorded events in the form in which an agent yields them."""
    return tuple(
        AgentEvent(event.name, MappingProxyType(events.fields_of(event.name, event.payload)))
        for event in recorded
    )


def withdraw_question(session: Session, reason: str) -> str | None:
    """Withdraw the request that the session waits for; return its id, or None without one."""
    requests = ApprovalRequest.objects.filter(session_id=session.session_id).pending()
    withdrawn = None
    for request in requests:
        withdrawn = request.request_id
        try:
            services.cancel(withdrawn, recovery_actor(session.tenant_id), reason=reason)
        except (errors.AlreadyDecided, errors.RequestExpired, errors.RequestCancelled):
            continue  # somebody decided it, or it expired, meanwhile
    return withdrawn
