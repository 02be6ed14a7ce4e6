"""Decisions: none lost, none doubled, and the row, the audit, the outbox and Redis agree."""

from __future__ import annotations

from collections import defaultdict

from tests.chaos import signals
from tests.chaos.history import Attempt, History, Origin
from tests.chaos.siblings import is_older
from tests.chaos.stored import DECIDED, Stored, StoredRequest
from tests.chaos.verdict import Broken, Verdict

_STATUS_OF = {"approve": "approved", "reject": "rejected", "cancel": "cancelled"}
# How long after its time a request may still be pending: the clock ticks every second.
_CLOCK_SECONDS = 6.0


def check(history: History, stored: Stored, verdict: Verdict) -> None:
    by_request: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        by_request[attempt.request_id].append(attempt)
        _check_answer(attempt, stored.requests.get(attempt.request_id), verdict)
    for request in stored.requests.values():
        _check_answers(request, by_request[request.request_id], verdict)
        _check_row(request, stored, verdict)
        _check_key(request, history, stored, verdict)
    _check_signals(history, stored, verdict)
    for request_id in history.malformed:
        if request_id in stored.requests:
            verdict.violate(Broken.DISAGREE, f"{request_id} is malformed and was adopted")
    for unexpected in history.unexpected:
        verdict.violate(Broken.UNEXPECTED, unexpected.what, unexpected.at)
    if not stored.are_chains_whole:
        verdict.violate(Broken.CHAIN, stored.chains)


def _check_answer(attempt: Attempt, row: StoredRequest | None, verdict: Verdict) -> None:
    """What one person was told is what the database says."""
    verdict.counts[f"answered {attempt.status}"] += 1
    verdict.counts["tries that broke"] += attempt.broken
    answer = f"{attempt.status} {attempt.answered_status}"
    said = f"{attempt.person} was told {answer} of {attempt.request_id}"
    at = attempt.answered_at
    match attempt.status:
        case 200 | 409 if row is None:
            verdict.violate(Broken.LOST, f"{said}; there is no such row", at)
        case 200 | 409 if row is not None and row.status != attempt.answered_status:
            verdict.violate(Broken.LOST, f"{said}; the row is {row.status}", at)
        case 200 if attempt.answered_status != _STATUS_OF[attempt.verb]:
            verdict.violate(Broken.LOST, f"{said} after {attempt.verb}", at)
        case 410 if row is None or row.status not in ("expired", "cancelled"):
            verdict.violate(Broken.LOST, f"{said}; the row is {row and row.status}", at)
        case 404 if row is not None and row.opened_at and row.opened_at < attempt.sent_at:
            verdict.violate(Broken.LOST, f"{said}; it was opened before", at)


def _check_answers(request: StoredRequest, attempts: list[Attempt], verdict: Verdict) -> None:
    """Of all who decided one request, exactly one was the first."""
    first = [a for a in attempts if a.status == 200]
    if len(attempts) > 1:
        verdict.counts["requests with racing deciders"] += 1
    if len(first) > 1:
        people = ", ".join(f"{a.person} {a.verb}" for a in first)
        verdict.violate(Broken.DOUBLED, f"{request.request_id}: 200 for {people}", request.ended_at)
    if request.status in (*DECIDED, "cancelled") and not first:
        # Somebody's answer was lost on the way, or came to nobody because the run ended.
        if any(a.broken or a.status is None for a in attempts):
            verdict.counts["decided, answer lost"] += 1
        elif not (request.status == "cancelled" and request.origin == "agent"):
            verdict.violate(
                Broken.LOST, f"{request.request_id} is {request.status}, and nobody was told 200"
            )


def _check_row(request: StoredRequest, stored: Stored, verdict: Verdict) -> None:
    """One audit record of the opening, one of the end, one outbox entry of a decision."""
    name, at = request.request_id, request.ended_at
    verdict.counts[f"requests {request.status}"] += 1
    opened = len(request.records) - len(request.ends)
    if opened != 1:
        verdict.violate(Broken.DISAGREE, f"{name} has {opened} audit records of its opening", at)
    ends = [record.event for record in request.ends]
    if request.status == "pending":
        if ends or request.outbox:
            verdict.violate(Broken.DISAGREE, f"{name} is pending, the audit has {ends}", at)
        if request.expires_at < stored.read_at - _CLOCK_SECONDS:
            late = stored.read_at - request.expires_at
            verdict.violate(Broken.LATE, f"{name} is pending {late:.0f} s after its time")
        return
    if ends != [f"request:{request.status}"]:
        broken = Broken.DOUBLED if len(ends) > 1 else Broken.DISAGREE
        verdict.violate(broken, f"{name} is {request.status}, the audit has {ends}", at)
    entries = len(request.outbox)
    if entries != (request.status in DECIDED):
        broken = Broken.DOUBLED if entries > 1 else Broken.LOST
        verdict.violate(broken, f"{name} is {request.status} with {entries} outbox entries", at)
    for entry in request.outbox:
        verdict.counts[f"outbox {entry.outcome}"] += 1
        verdict.counts["publications tried"] += entry.attempts
        if fault := signals.fault(entry.signal):
            verdict.violate(Broken.SHAPE, f"the outbox entry of {name} {fault}", at)
        elif (signals.request_of(entry.signal), signals.status_of(entry.signal)) != (
            name,
            request.status,
        ):
            verdict.violate(Broken.DISAGREE, f"{name}: the outbox has {entry.signal}", at)


def _check_key(request: StoredRequest, history: History, stored: Stored, verdict: Verdict) -> None:
    """`hitl:request`, where Redis has it, says what the row says."""
    if request.in_redis is None or request.in_redis == request.status:
        return
    is_due = stored.read_at < request.expires_at <= stored.redis_read_at
    if (request.status, request.in_redis) == ("pending", "expired") and is_due:
        return  # its time came between the two readings
    said = f"{request.request_id} is {request.status}, in Redis {request.in_redis}"
    ended = request.ended_at or stored.read_at
    healthy = history.outages.longest_healthy(ended, stored.read_at, redis=True)
    # A decision is sent again, and what else Redis has missed is made up for.
    if request.in_redis != "pending" or healthy > verdict.limits.outside:
        verdict.violate(Broken.DISAGREE, said, ended)


def _check_signals(history: History, stored: Stored, verdict: Verdict) -> None:
    """`hitl:signal` holds the decision on its session's newest request, or is not there."""
    newest: dict[str, StoredRequest] = {}
    for request in stored.requests.values():
        known = newest.get(request.session_id)
        if known is None or known.number < request.number:
            newest[request.session_id] = request
    for session_id, text in stored.signals.items():
        if fault := signals.fault(text):
            verdict.violate(Broken.SHAPE, f"the signal of {session_id} {fault}")
            continue
        named, owner = signals.request_of(text), newest.get(session_id)
        if owner is not None and _are_simultaneous(named, owner.request_id, history):
            owner = stored.requests.get(named)
        if owner is None or named != owner.request_id:
            of = owner and owner.request_id
            verdict.violate(
                Broken.MISDELIVERED,
                f"the signal of {session_id} names {named}, its newest request is {of}",
            )
        elif signals.status_of(text) != owner.status:
            verdict.violate(Broken.DISAGREE, f"{named} is {owner.status}, its signal {text}")


def _are_simultaneous(one: str, other: str, history: History) -> bool:
    """Say whether agents asked both at once, so that either may be the newer one."""
    first, second = history.questions.get(one), history.questions.get(other)
    if first is None or second is None or first is second:
        return False
    are_of_agents = first.origin is second.origin is Origin.OUTSIDE
    is_known = is_older(first, second) or is_older(second, first)
    return are_of_agents and first.session_id == second.session_id and not is_known
