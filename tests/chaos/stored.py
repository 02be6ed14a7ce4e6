"""What the database and Redis hold after a run."""

from __future__ import annotations

from dataclasses import dataclass, field

DECIDED = frozenset({"approved", "rejected"})
# A request is opened by our API or the built-in agent, or adopted from Redis.
OPENINGS = frozenset({"request:opened", "request:adopted"})


@dataclass(slots=True)
class Record:
    """An audit record of a request, with the time at which its transaction committed."""

    event: str
    at: float


@dataclass(slots=True)
class OutboxRow:
    signal: str
    outcome: str
    attempts: int = 0
    receivers: int = 0


@dataclass(slots=True)
class StoredRequest:
    """One row, what the audit says of it, its outbox entries, its key in Redis if it is there.

    `number` orders the requests of a session: of two, the larger is the newer question.
    """

    number: int
    request_id: str
    session_id: str
    tenant: str
    origin: str
    status: str
    expires_at: float
    records: list[Record] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    in_redis: str | None = None

    @property
    def opened_at(self) -> float | None:
        return next((r.at for r in self.records if r.event in OPENINGS), None)

    @property
    def ends(self) -> list[Record]:
        return [r for r in self.records if r.event not in OPENINGS]

    @property
    def ended_at(self) -> float | None:
        """When the decision, or the end without one, was committed."""
        return self.ends[0].at if self.ends else None


@dataclass(slots=True)
class StoredEvent:
    sequence: int
    name: str
    payload: str
    at: float


@dataclass(slots=True)
class StoredSession:
    number: int
    session_id: str
    status: str
    events: list[StoredEvent] = field(default_factory=list)


@dataclass(slots=True)
class Stored:
    """The state after a run. `signals` are the `hitl:signal:*` keys, by session."""

    requests: dict[str, StoredRequest] = field(default_factory=dict)
    sessions: dict[int, StoredSession] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)
    # When the database was read, and by when Redis was.
    read_at: float = 0.0
    redis_read_at: float = 0.0
    are_chains_whole: bool = True
    chains: str = ""

    def in_session(self, session_id: str) -> list[StoredRequest]:
        """Return a session's requests, oldest first."""
        requests = [r for r in self.requests.values() if r.session_id == session_id]
        return sorted(requests, key=lambda r: r.number)
