"""A second deployment on the same Redis server: neither has anything of the other's."""

from __future__ import annotations

from tests.chaos import check_agents, check_decisions, check_streams
from tests.chaos.history import History, Origin
from tests.chaos.stored import Stored
from tests.chaos.verdict import Broken, Verdict


def check(
    history: History,
    stored: Stored,
    others_history: History,
    others: Stored,
    verdict: Verdict,
    *,
    is_same_number: bool,
) -> None:
    """Judge the other deployment by what its own clients saw, and both by what they share.

    Takes out of `others` and of both signals what the two may share.
    """
    for row in list(others.requests.values()):
        name, firsts_row = row.request_id, stored.requests.get(row.request_id)
        if row.origin != "redis" and firsts_row is None:
            continue
        question = history.questions.get(name)
        is_agents_own = question is None or question.origin is Origin.OUTSIDE
        origins = {row.origin} | ({firsts_row.origin} if firsts_row else set())
        if is_same_number and is_agents_own and origins == {"redis"}:
            # An agent wrote it under this number: both may adopt it, and only the first decides.
            if row.status in ("approved", "rejected"):
                verdict.violate(Broken.FOREIGN, f"{name} was decided there", row.ended_at)
            verdict.counts["agents' own, adopted by another deployment"] += 1
        else:
            first = f"{firsts_row.origin} here" if firsts_row else "not here"
            said = f"{name} was opened by {row.origin} there, {first}"
            verdict.violate(Broken.FOREIGN, said, row.opened_at)
        del others.requests[name]
    if is_same_number:
        _keep_signals(stored, others)
    tried = history.foreign_approvals + others_history.foreign_approvals
    verdict.counts["approvals of what another deployment opened"] = tried
    own = Verdict(verdict.limits)
    check_decisions.check(others_history, others, own)
    check_agents.check(others_history, others, own)
    check_streams.check(others_history, others, own)
    for violation in own.violations:
        verdict.violate(violation.broken, f"other deployment: {violation.what}", violation.at)
    for name in ("requests approved", "requests rejected", "streams seen to their end"):
        verdict.counts[f"other deployment: {name}"] = own.counts[name]


def _keep_signals(stored: Stored, others: Stored) -> None:
    """Leave each with the signals of its own sessions, where both are under one number."""
    theirs = {row.session_id for row in others.requests.values()}
    signals = stored.signals | others.signals
    stored.signals = {name: text for name, text in signals.items() if name not in theirs}
    others.signals = {name: text for name, text in signals.items() if name in theirs}
