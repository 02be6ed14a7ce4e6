"""What the checks found: violations, counts and delays."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum


class Broken(StrEnum):
    """Which promise does not hold."""

    LOST = "lost"
    # By an agent, in the time promised for it; the database has it.
    UNHEARD = "not heard"
    DOUBLED = "doubled"
    MISDELIVERED = "delivered to another request"
    # Though another agent of its session may take it for its own answer.
    SENT = "sent while an older question waits"
    # Or withheld and it should not be.
    WITHHELD = "withheld without a reason"
    FOREIGN = "seen by another deployment"
    SHAPE = "neither of the two shapes"
    LATE = "late"
    GAP = "gap in a stream"
    REPEAT = "repeat in a stream"
    STREAM = "stream differs from its session"
    DISAGREE = "row, audit, stream and Redis disagree"
    CHAIN = "audit chain"
    NOT_ADOPTED = "not adopted"
    UNEXPECTED = "unexpected answer"
    TOO_FEW = "too few decisions"


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise broken once, `at` that time (Unix seconds; 0: at no one moment)."""

    broken: Broken
    what: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest delays, in seconds, of the promises that have one."""

    own: float = 6.0
    outside: float = 6.0
    adoption: float = 2.0
    takeover: float = 15.0
    drain: float = 10.0

    def relaxed(self, slack: float) -> Limits:
        own = (self.own, self.outside, self.adoption, self.takeover, self.drain)
        return Limits(*(seconds * slack for seconds in own))


@dataclass(slots=True)
class Verdict:
    """The result of every check of a run."""

    limits: Limits
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    delays: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def violate(self, broken: Broken, what: str, at: float | None = None) -> None:
        self.violations.append(Violation(broken, what, at or 0.0))

    def of(self, broken: Broken) -> list[Violation]:
        return [violation for violation in self.violations if violation.broken is broken]
