"""Approvals that are withheld because another agent may take them for its own answer, and others
that are not: the outcome, the answer to who decided, and what Redis holds (wire.md, 5.3)."""

from __future__ import annotations

from tests.chaos import signals
from tests.chaos.history import Attempt, History, Origin, Question
from tests.chaos.siblings import WAIT_SECONDS, WITHHELD_SECONDS, Siblings, is_own
from tests.chaos.stored import Stored, StoredRequest
from tests.chaos.verdict import Broken, Verdict

WITHHELD = "withheld"
# From its question's writing to the end of a time in which its approval may become final.
_CLOSE = WITHHELD_SECONDS - WAIT_SECONDS + 2.0
# The relay looks again within this time.
_RELAY_SECONDS = 6.0
# The time in which an approval waits for a scan, and a moment more.
_SCAN_SECONDS = 3.0


def check(history: History, stored: Stored, verdict: Verdict) -> None:
    siblings = Siblings(history, stored)
    for question in history.questions.values():
        verdict.counts["questions whose channel has other subscribers"] += (
            question.is_channel_shared
        )
        verdict.counts["questions of two tenants in one session"] += question.may_be_refused
    for row in stored.requests.values():
        _check_outcome(row, history.questions.get(row.request_id), siblings, stored, verdict)
    for attempt in history.attempts:
        asked = history.questions.get(attempt.request_id)
        if attempt.status == 200 and attempt.verb != "cancel" and asked is not None:
            _check_answer(attempt, asked, siblings, history, verdict)
    for listening in history.listenings:
        question, at = listening.question, listening.received_at
        if question.origin is not Origin.OUTSIDE or at is None or not is_own(listening):
            continue
        if signals.status_of(listening.message or "") == "approved":
            _check_sent(question, at, "heard its approval", siblings, verdict)
    _check_keys(history, stored, siblings, verdict)


def _check_outcome(
    row: StoredRequest,
    question: Question | None,
    siblings: Siblings,
    stored: Stored,
    verdict: Verdict,
) -> None:
    """Only an approval of an agent's own request is withheld, for an older one's sake."""
    if all(entry.outcome != WITHHELD for entry in row.outbox):
        return
    name, at = row.request_id, row.ended_at
    if row.origin != "redis" or row.status != "approved":
        said = f"{name} was opened by {row.origin} and is {row.status}; its outcome is withheld"
        verdict.violate(Broken.WITHHELD, said, at)
        return
    if question is None:
        return  # its agent had not written its last key when the run ended
    still = siblings.may_be_withheld(question, stored.read_at - _RELAY_SECONDS)
    others = siblings.for_whom_withheld(question)
    if not still and all(question.asked_at - (o.written_at or 0.0) > _CLOSE for o in others):
        said = f"{name}: its outcome is withheld, and no older question may have waited"
        verdict.violate(Broken.WITHHELD, said, at)


def _check_answer(
    attempt: Attempt, question: Question, siblings: Siblings, history: History, verdict: Verdict
) -> None:
    """Who approves learns whether it is withheld, and `hitl:request` has the decision at once."""
    name, answered_at = question.request_id, attempt.answered_at or attempt.sent_at
    verdict.counts[f"X-DWP-Signal {attempt.signal}"] += 1
    is_calm = not history.outages.between(attempt.sent_at - 5, answered_at)
    if attempt.signal == WITHHELD:
        may_be = siblings.may_be_withheld(question, attempt.sent_at)
        if attempt.verb != "approve" or question.origin is not Origin.OUTSIDE or not may_be:
            said = f"{attempt.verb} of {name} ({question.origin}): the answer says withheld"
            verdict.violate(Broken.WITHHELD, said, answered_at)
        if attempt.key_status == "pending" and is_calm:
            said = f"{name}: withheld, and hitl:request still says pending"
            verdict.violate(Broken.DISAGREE, said, answered_at)
    elif attempt.verb == "approve" and question.origin is Origin.OUTSIDE and not attempt.broken:
        older = siblings.must_be_withheld(question, attempt.sent_at)
        is_newest = siblings.newer_at(question) > answered_at
        is_early = answered_at < question.asked_at + _SCAN_SECONDS
        if older is not None and is_newest and is_calm and not is_early:
            said = f"approve of {name}: the answer says {attempt.signal}, {older.request_id} waits"
            verdict.violate(Broken.SENT, said, answered_at)
    if attempt.key_signal and _approves(attempt.key_signal, name):
        _check_sent(question, answered_at, "is in hitl:signal", siblings, verdict)


def _approves(text: str, name: str) -> bool:
    is_signal = not signals.fault(text)
    return is_signal and (signals.request_of(text), signals.status_of(text)) == (name, "approved")


def _check_sent(
    question: Question, at: float, how: str, siblings: Siblings, verdict: Verdict
) -> None:
    older = siblings.must_be_withheld(question, at)
    if older is not None:
        said = f"{question.request_id} {how} while {older.request_id} may wait"
        verdict.violate(Broken.SENT, said, at)


def _check_keys(history: History, stored: Stored, siblings: Siblings, verdict: Verdict) -> None:
    for text in stored.signals.values():
        if signals.fault(text) or signals.status_of(text) != "approved":
            continue
        question = history.questions.get(signals.request_of(text))
        if question is not None and question.origin is Origin.OUTSIDE:
            # As long as it is there, it may be read.
            _check_sent(question, stored.redis_read_at, "is in hitl:signal", siblings, verdict)
