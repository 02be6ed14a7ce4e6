"""Agents: each heard the decision on its own question, and in time."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos import signals
from tests.chaos.history import History, Listening, Origin, Question, Wait
from tests.chaos.outages import Part
from tests.chaos.siblings import SCAN_SECONDS, Siblings, is_older, is_own
from tests.chaos.stored import DECIDED, Stored, StoredRequest
from tests.chaos.verdict import Broken, Verdict

# What Redis publishes this shortly before its end may be owed again, and a moment more.
IN_FLIGHT = 2.0
# So old may be what a publication knows, and a moment more.
VALID = 1.2
# By how much an agent's clock and that of Redis may differ.
CLOCKS = 1.0
OUTSIDE, OUTSIDE_DISTURBED = "outside agents", "outside agents, something away"
AFTER_WITHHELD = "outside agents, after being withheld"
WAITS, WAITS_DISTURBED = "waits over REST", "waits over REST, something away"
ADOPTION, ADOPTION_DISTURBED = "adoption", "adoption, something away"


def check(history: History, stored: Stored, verdict: Verdict) -> None:
    siblings = Siblings(history, stored)
    for question in history.questions.values():
        if siblings.is_of_another_tenant(question):
            verdict.counts["refused: another tenant's session"] += 1
        elif question.origin is Origin.OUTSIDE:
            _check_adoption(question, stored.requests.get(question.request_id), history, verdict)
    received = {
        listening.question.request_id: listening.received_at
        for listening in history.listenings
        if listening.received_at and is_own(listening)
    }
    for listening in history.listenings:
        row = stored.requests.get(listening.question.request_id)
        if listening.message is not None:
            _check_message(listening, row, received, history, verdict)
        if row is not None and row.status in DECIDED:
            _check_hearing(listening, row, siblings, history, verdict)
    for wait in history.waits:
        _check_wait(wait, stored.requests.get(wait.question.request_id), history, verdict)


def _check_adoption(
    question: Question, row: StoredRequest | None, history: History, verdict: Verdict
) -> None:
    asked, outages = question.asked_at, history.outages
    if row is not None and row.opened_at is not None:
        healthy = outages.longest_healthy(asked, row.opened_at, redis=True, calm=True)
        is_calm = not outages.between(asked - 5, row.opened_at)
        delay = max(0.0, row.opened_at - asked)
        verdict.delays[ADOPTION if is_calm else ADOPTION_DISTURBED].append(delay)
        # After an outage there is a backlog, and a scanner that looks again after a while.
        if healthy > (verdict.limits.adoption if is_calm else verdict.limits.outside):
            said = f"{question.request_id} was adopted {delay:.1f} s after it was asked"
            verdict.violate(Broken.LATE, said, asked)
        return
    if outages.wiped(asked, history.ended_at):
        verdict.counts["wiped from Redis before adoption"] += 1
        return
    if outages.longest_healthy(asked, history.ended_at, redis=True) > verdict.limits.outside:
        verdict.violate(Broken.NOT_ADOPTED, f"{question.request_id} never was", asked)


def _check_message(
    listening: Listening,
    row: StoredRequest | None,
    received: Mapping[str, float],
    history: History,
    verdict: Verdict,
) -> None:
    """What the agent took for its answer is the decision on its own question."""
    question, message, at = (
        listening.question,
        listening.message or "",
        listening.received_at or 0.0,
    )
    verdict.counts["messages heard by agents"] += 1
    if fault := signals.fault(message):
        verdict.violate(Broken.SHAPE, f"{question.request_id} heard what {fault}: {message}", at)
        return
    if (named := signals.request_of(message)) != question.request_id:
        other = history.questions.get(named)
        if other is not None and _stops(message, other, question):
            verdict.counts["another's rejection, which stops the agent"] += 1
            return
        # What an agent had received before Redis' last moments, it is never sent again: not
        # after that wipe, nor after any that follows.
        known = received.get(named or "", at)
        is_owed = all(known > wipe - IN_FLIGHT for wipe in history.outages.wipes(known, at)[:1])
        # What was published then had been asked of the database before anybody adopted this.
        is_unseen = row is None or (row.opened_at or 0.0) > at - VALID
        if is_unseen and is_owed and history.outages.wiped(question.asked_at, at):
            verdict.counts["another's answer after a wipe before adoption"] += 1
            return
        verdict.violate(Broken.MISDELIVERED, f"{question.request_id} heard {message}", at)
    elif row is None or signals.status_of(message) != row.status:
        status = row and row.status
        verdict.violate(
            Broken.DISAGREE, f"{question.request_id} heard {message}; the row is {status}", at
        )


def _stops(message: str, other: Question, question: Question) -> bool:
    """Say whether it is a rejection of what is not older: an agent that stops does no harm."""
    is_rejection = signals.status_of(message) == "rejected"
    is_theirs = other.session_id == question.session_id and other.origin is Origin.OUTSIDE
    return is_rejection and is_theirs and not is_older(other, question)


def _check_hearing(
    listening: Listening,
    row: StoredRequest,
    siblings: Siblings,
    history: History,
    verdict: Verdict,
) -> None:
    """No subscription outlasts the promised delay, counted while what it needs was there."""
    if listening.message is None and listening.abandoned_at is not None:
        verdict.counts["superseded: the agent asked again first"] += 1
    question, decided = listening.question, row.ended_at or 0.0
    for subscription in listening.subscriptions:
        start, owed_until = siblings.owed(question, row, subscription)
        until = subscription.ended or listening.received_at or history.ended_at
        is_heard = listening.received_at is not None and listening.received_at <= until
        stop = min(until, listening.received_at or until, max(start, owed_until))
        healthy = history.outages.longest_healthy(start, stop, redis=True)
        if is_heard and owed_until > start:
            calm = not history.outages.between(start - 5, stop)
            kind = OUTSIDE if calm else OUTSIDE_DISTURBED
            began = max(decided, subscription.began)
            if start > began + SCAN_SECONDS and stop > start - CLOCKS:
                kind, began = AFTER_WITHHELD, start
            verdict.delays[kind].append(max(0.0, stop - began))
        if healthy > verdict.limits.outside:
            how = "heard late" if is_heard else "not heard when its subscription ended"
            sent = ", ".join(f"{e.outcome} after {e.attempts} attempts" for e in row.outbox)
            said = f"{row.request_id} ({row.origin}, {sent}): {how}, {stop - start:.1f} s"
            verdict.violate(Broken.LATE if is_heard else Broken.UNHEARD, said, start)


def _check_wait(wait: Wait, row: StoredRequest | None, history: History, verdict: Verdict) -> None:
    name = wait.question.request_id
    if row is None:
        verdict.violate(Broken.LOST, f"{name} was opened over REST; there is no such row")
        return
    if wait.status is not None and wait.status != row.status:
        said = f"{name}: wait said {wait.status}, the row is {row.status}"
        verdict.violate(Broken.DISAGREE, said, wait.ended_at)
    if row.ended_at is None:
        return
    start = max(wait.began, row.ended_at)
    stop = wait.ended_at or wait.abandoned_at or history.ended_at
    is_calm = not history.outages.between(start - 5, stop, Part.DATABASE, Part.SERVER, Part.STOPPED)
    if wait.ended_at is not None:
        verdict.delays[WAITS if is_calm else WAITS_DISTURBED].append(max(0.0, stop - start))
    if history.outages.longest_healthy(start, stop, calm=True) > verdict.limits.own:
        verdict.violate(Broken.LATE, f"{name}: wait answered {stop - start:.1f} s later", start)
