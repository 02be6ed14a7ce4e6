"""Questions that agents on Redis asked in one session: which is older, and which was answered.

All is said from what the agents themselves did and heard, with certainty or not at all. Of the
database only what it has of a question is used: whether it was adopted, and when it ended.
"""

from __future__ import annotations

from collections import defaultdict
from math import inf

from tests.chaos import signals
from tests.chaos.history import History, Listening, Origin, Question, Subscription
from tests.chaos.stored import Stored, StoredRequest

# wire.md, 5.3: how long a deployed agent waits; for how long after an older question was written
# an approval is withheld; for how long it waits for a scan; for how long a signal is repeated
# whoever receives it.
WAIT_SECONDS, WITHHELD_SECONDS, SCAN_SECONDS, REPEATED_SECONDS = 300.0, 310.0, 2.0, 10.0
# The longest pause between two publications.
_PAUSE = 4.0
# How far two clocks, or two readings of one, may be apart.
_MARGIN = 1.0


class Siblings:
    """The questions of a run by their sessions."""

    def __init__(self, history: History, stored: Stored) -> None:
        self._history, self._stored = history, stored
        self._by_session: dict[str, list[Question]] = defaultdict(list)
        for question in history.questions.values():
            if question.origin is Origin.OUTSIDE:
                self._by_session[question.session_id].append(question)
        # When each agent received the answer to its own question.
        self._answered_at = {
            listening.question.request_id: listening.received_at
            for listening in history.listenings
            if listening.received_at is not None and is_own(listening)
        }

    def newer_at(self, question: Question) -> float:
        """Return when the first question was asked that may be newer than this one."""
        others = self._others(question)
        return min((o.asked_at for o in others if not is_older(o, question)), default=inf)

    def for_whom_withheld(self, question: Question) -> list[Question]:
        """Return the questions for whose sake an approval of this one may be withheld: each may be
        older, and nobody can be sure that its agent has its answer."""
        return [
            o
            for o in self._others(question)
            # Nothing shows the order to one that was refused.
            if (not is_older(question, o) or self.is_of_another_tenant(o))
            and not self._is_surely_answered(o)
        ]

    def may_be_withheld(self, question: Question, at: float) -> bool:
        """Say whether an approval of this question may be withheld at this moment."""
        return any(at < _until(o) + _MARGIN for o in self.for_whom_withheld(question))

    def must_be_withheld(self, question: Question, at: float) -> Question | None:
        """Return an older question whose agent surely waits at this moment, if there is one."""
        others = self._others(question)
        return next((o for o in others if self._surely_waits(o, question, at)), None)

    def owed(
        self, question: Question, row: StoredRequest, subscription: Subscription
    ) -> tuple[float, float]:
        """Return from when to when a subscription had to receive the decision, apart from the
        time that delivery may take: never, if the end is not later."""
        sent_at = row.ended_at or 0.0
        if question.origin is not Origin.OUTSIDE:
            return max(subscription.began, sent_at), inf
        sent_at = self.sent_at(question, row)
        start, end = max(subscription.began, sent_at), self.newer_at(question)
        if sent_at > question.asked_at + WAIT_SECONDS - _MARGIN:
            end = start
        if question.is_channel_shared:
            # Another subscriber may have been counted instead.
            repeated_until = question.asked_at + REPEATED_SECONDS - _PAUSE
            if subscription.began > max(sent_at, repeated_until):
                end = start
        return start, end

    def sent_at(self, question: Question, row: StoredRequest) -> float:
        """Return by when nothing keeps the decision on a question on Redis from being sent."""
        sent_at = row.ended_at or 0.0
        if row.status != "approved":
            return sent_at
        if sent_at < question.asked_at + SCAN_SECONDS:
            sent_at = question.asked_at + SCAN_SECONDS
        return max([sent_at, *map(_until, self.for_whom_withheld(question))])

    def is_of_another_tenant(self, question: Question) -> bool:
        """Say whether the session was given to another tenant, so that this question is refused."""
        tenants = {row.tenant for row in self._stored.in_session(question.session_id)}
        return question.may_be_refused and bool(tenants) and question.tenant not in tenants

    def _others(self, question: Question) -> list[Question]:
        return [o for o in self._by_session[question.session_id] if o is not question]

    def _is_surely_answered(self, question: Question) -> bool:
        """Say whether its agent has the answer and everybody knows. A process that ended right
        after its publication knew; the database does not."""
        at = self._answered_at.get(question.request_id)
        outages = self._history.outages
        return at is not None and not outages.changes(at - 1.5 * _MARGIN, at + 2 * _MARGIN)

    def _surely_waits(self, older: Question, question: Question, at: float) -> bool:
        if not is_older(older, question) or at > older.asked_at + WITHHELD_SECONDS - _MARGIN:
            return False
        if older.request_id in self._answered_at:
            return False
        outages, row = self._history.outages, self._stored.requests.get(older.request_id)
        is_calm = not outages.between(older.asked_at - 5, at)
        if row is None:
            return is_calm and self.is_of_another_tenant(older)
        if row.opened_at is None or (row.opened_at > at and not is_calm):
            return False
        # One that was decided before may have been published to somebody.
        is_undecided = row.ended_at is None or row.status not in ("approved", "rejected")
        return is_undecided or (row.ended_at or 0.0) > (question.written_at or inf)


def is_own(listening: Listening) -> bool:
    """Say whether what the agent heard is the decision on its own question."""
    message = listening.message or ""
    return not signals.fault(message) and (
        signals.request_of(message) == listening.question.request_id
    )


def is_older(one: Question, other: Question) -> bool:
    """Say whether one was surely asked before the other: all its keys were written before."""
    return one.written_at is not None and one.written_at <= other.asked_at


def _until(older: Question) -> float:
    return (older.written_at or older.asked_at) + WITHHELD_SECONDS
