"""What the clients of a run saw, each line with its time in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.outages import Outages


class Origin(StrEnum):
    """Who asks: a user of the built-in agent, an agent on Redis, an agent over REST."""

    USER = "user"
    OUTSIDE = "outside"
    REST = "rest"


class Fate(StrEnum):
    """What the run has in mind for a question."""

    DECIDE = "decide"
    # By the one who lists what is pending, knowing no id.
    LISTED = "listed"
    # Decided within milliseconds of its expiry.
    RACE_EXPIRY = "race expiry"
    EXPIRE = "expire"
    CANCEL = "cancel"
    CANCEL_SESSION = "cancel session"
    # In an order that was drawn for all questions of its session.
    ORDERED = "ordered"


@dataclass(slots=True)
class Question:
    """One approval request, as its asker knows it."""

    request_id: str
    session_id: str
    tenant: str
    requester: str
    origin: Origin
    fate: Fate
    # Before its first write.
    asked_at: float
    expires_at: float | None = None
    # After its last write.
    written_at: float | None = None
    # Others may subscribe to its channel, agents that wait for another answer or dead connections.
    is_channel_shared: bool = False
    # Another tenant asks in the same session: one of the two is refused.
    may_be_refused: bool = False


@dataclass(slots=True)
class Attempt:
    """One person's approve, reject or cancel, repeated until it was answered."""

    request_id: str
    person: str
    verb: str
    key: str | None
    sent_at: float
    answered_at: float | None = None
    status: int | None = None
    # The decision in the answer's data.
    answered_status: str | None = None
    # The answer's `X-DWP-Signal`, and what Redis held right after it: the status in the
    # request's key, and the session's signal.
    signal: str | None = None
    key_status: str | None = None
    key_signal: str | None = None
    # Tries that broke: their answer, whatever it was, is not known.
    broken: int = 0


@dataclass(slots=True)
class Subscription:
    """One subscription of an agent, confirmed by Redis, until it broke or was given up."""

    began: float
    ended: float | None = None


@dataclass(slots=True)
class Listening:
    """An agent's wait for one question on its session's channel."""

    question: Question
    subscriptions: list[Subscription] = field(default_factory=list)
    # The first message, whatever it says: an agent takes it for its answer.
    message: str | None = None
    received_at: float | None = None
    # When the agent asked something else instead, without an answer.
    abandoned_at: float | None = None


@dataclass(slots=True)
class Wait:
    """An agent's wait over REST."""

    question: Question
    began: float
    ended_at: float | None = None
    status: str | None = None
    # When the agent asked no more, without an answer.
    abandoned_at: float | None = None


@dataclass(slots=True)
class Frame:
    """One frame of a stream that is no comment. `[DONE]` has no id and no event."""

    id: int | None
    event: str | None
    data: str


@dataclass(slots=True)
class Stream:
    """All that one client saw of one session, over however many connections."""

    user: str
    tenant: str
    prompt: str
    frames: list[Frame] = field(default_factory=list)
    connections: int = 0
    # "clean", or None: the client never saw the end.
    ended: str | None = None


@dataclass(slots=True)
class Unexpected:
    """An answer that the contract does not know in this place."""

    at: float
    what: str


@dataclass(slots=True)
class History:
    """Everything that was seen in one run."""

    outages: Outages
    questions: dict[str, Question] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    listenings: list[Listening] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    unexpected: list[Unexpected] = field(default_factory=list)
    # Request ids of values that are no request, written to Redis on purpose.
    malformed: list[str] = field(default_factory=list)
    # How often somebody tried to approve here what another deployment had opened.
    foreign_approvals: int = 0
    # By how much a sleep of the run itself took too long, in seconds: how busy the machine was.
    lags: list[float] = field(default_factory=list)
    began_at: float = 0.0
    ended_at: float = 0.0
