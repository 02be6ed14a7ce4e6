"""Publishes signals from the outbox through the guarded script, and records what became of each
(docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.jsontext import InvalidJSON
from dwp_project.wakeup import redis_may_be_away
from hitl import metrics
from hitl.delivery import commands, outbox, redis_state
from hitl.delivery import keys as redis_keys
from hitl.models import ApprovalRequest, OutboxEntry, is_id
from hitl.states import DeliveryOutcome, Origin

logger = get_logger(__name__)

# As SQL, because each attempt asks it: to build it takes five times as long as to answer it.
_OUTDATED = """
    SELECT entry.id FROM hitl_outboxentry entry
      JOIN hitl_approvalrequest request ON request.id = entry.request_id
     WHERE entry.id IN (%s) AND EXISTS (
           SELECT 1 FROM hitl_approvalrequest newer
            WHERE newer.session_id = request.session_id
              AND (newer.created_at > request.created_at
                   OR newer.created_at = request.created_at AND newer.id > request.id))"""


class SendResult(NamedTuple):
    """Whether any entry must be sent again, whether Redis could not be reached, and whether it
    took so long that some were not published any more."""

    is_incomplete: bool
    is_away: bool
    is_late: bool


class KeyState(NamedTuple):
    """Whether the session's key holds the signal, and how many listen on its channel."""

    has_signal: bool
    listeners: int


def send(entries: Sequence[OutboxEntry]) -> SendResult:
    """Publish entries through the guarded script and record what became of each.

    If Redis is away they stay pending. That raises nothing: a committed decision is never
    turned into an error.
    """
    results = {
        entry.pk: outbox.AttemptResult(_final_outcome(entry, DeliveryOutcome.UNHEARD))
        for entry in entries
        if _seconds_left(entry) <= 0
    }
    timely = [entry for entry in entries if entry.pk not in results]
    with redis_may_be_away("signals_not_published", due=len(timely)) as call:
        if timely:
            _send_timely(timely, results)
    away = outbox.AttemptResult(DeliveryOutcome.PENDING, error=call.error, is_away=True)
    attempts = [(entry, results.get(entry.pk, away)) for entry in entries]
    outbox.record_attempts(attempts)
    return SendResult(
        is_incomplete=any(result.outcome is DeliveryOutcome.PENDING for _, result in attempts),
        is_away=call.has_failed,
        is_late=any(result.is_late for _, result in attempts),
    )


def _send_timely(entries: Sequence[OutboxEntry], results: dict[int, outbox.AttemptResult]) -> None:
    """Send entries whose time is not over; put the result of each into `results`, as long as Redis
    can be reached."""
    # Redis's time first: the database's answer may be acted on for `VALID_SECONDS` from then.
    asked_at, texts = redis_state.clock_and_texts(
        [
            entry.request.request_id
            for entry in entries
            if entry.request.origin == Origin.REDIS and not entry.attempts
        ]
    )
    entries = _without_unvouched(entries, results)
    outdated, states = _outdated(entries), _key_states(entries)
    idle = {pk for pk, state in states.items() if state.has_signal and not state.listeners}
    idle -= outdated
    _repeat([entry for entry in entries if entry.pk in idle], results, asked_at)
    lost = []
    for entry in _loaded([entry for entry in entries if entry.pk not in idle], results):
        if entry.pk in outdated:
            _refresh(entry)
            outcome = _final_outcome(entry, DeliveryOutcome.SUPERSEDED)
            results[entry.pk] = outbox.AttemptResult(outcome)
        elif entry.pk in states and not states[entry.pk].listeners:
            lost.append(entry)
        else:
            publication = commands.publish(
                entry.request,
                outbox.text_of(entry),
                seconds=_ttl(entry),
                asked_at=asked_at,
                texts=texts,
            )
            results[entry.pk] = _result_of(entry, publication)
    # What Redis lost in a restart, in one round trip: nobody listens for these signals yet.
    if lost:
        publications = commands.publish_all(
            [(entry.request, outbox.text_of(entry), _ttl(entry)) for entry in lost],
            asked_at=asked_at,
        )
        for entry, publication in zip(lost, publications, strict=True):
            results[entry.pk] = _result_of(entry, publication)


def _without_unvouched(
    entries: Sequence[OutboxEntry], results: dict[int, outbox.AttemptResult]
) -> list[OutboxEntry]:
    """Return the entries whose decision the audit has; put into `results` that the others are
    refused, or wait if a key signed it that is not trusted here: nothing of them is sent or written
    to Redis."""
    unvouched = outbox.unvouched(entries)
    for entry in entries:
        if entry.pk in unvouched:
            # A key that this process does not trust may be the one that others have by now.
            is_final = not outbox.is_by_unknown_key(entry)
            results[entry.pk] = outbox.AttemptResult(
                DeliveryOutcome.REFUSED if is_final else DeliveryOutcome.PENDING,
                error="the audit does not have this decision",
            )
            metrics.unvouched_signals.inc()
            logger.error(
                "signal_not_vouched_for",
                request_id=entry.request.request_id,
                tenant=entry.request.tenant_id,
            )
    return [entry for entry in entries if entry.pk not in unvouched]


def _loaded(
    entries: Sequence[OutboxEntry], results: dict[int, outbox.AttemptResult]
) -> list[OutboxEntry]:
    """Return the entries with everything of their requests. Those whose rows are read again for
    that are compared with the audit again."""
    whole = [entry for entry in entries if not entry.request.get_deferred_fields()]
    partial = [entry for entry in entries if entry.request.get_deferred_fields()]
    if partial:
        whole += _without_unvouched(outbox.load_requests(partial), results)
    return whole


def _repeat(
    entries: Sequence[OutboxEntry],
    results: dict[int, outbox.AttemptResult],
    asked_at: float,
) -> None:
    """Publish again what Redis holds, in one round trip. Redis counts no listener for these, but
    it never counts one that subscribes by pattern or at a replica."""
    if not entries:
        return
    signals = [
        (entry.request.session_id, entry.request.request_id, outbox.text_of(entry))
        for entry in entries
    ]
    publications = commands.repeat_all(signals, asked_at=asked_at)
    for entry, publication in zip(entries, publications, strict=True):
        if isinstance(publication, commands.Published):
            results[entry.pk] = _result_of(entry, publication)
        else:
            for loaded in _without_unvouched(outbox.load_requests([entry]), results):
                results[entry.pk] = _result_of(loaded, publication)


def _outdated(entries: Sequence[OutboxEntry]) -> set[int]:
    """Return the pks of entries whose session has a newer request.

    Newer by time, not by row: requests that agents wrote to Redis are adopted in any order.
    """
    if not entries:
        return set()
    pks = [entry.pk for entry in entries]
    with connection.cursor() as cursor:
        cursor.execute(_OUTDATED % ", ".join(["%s"] * len(pks)), pks)
        return {pk for (pk,) in cursor.fetchall()}


def _key_states(entries: Sequence[OutboxEntry]) -> dict[int, KeyState]:
    """Return what Redis holds for each entry that is not sent for the first time, by its pk."""
    again = [entry for entry in entries if entry.attempts]
    if not again:
        return {}
    states = redis_state.signals_and_listeners([entry.request.session_id for entry in again])
    return {
        entry.pk: KeyState(signal == outbox.text_of(entry), listeners)
        for entry, (signal, listeners) in zip(again, states, strict=True)
    }


def _refresh(entry: OutboxEntry) -> None:
    try:
        commands.refresh(entry.request)
    except (InvalidJSON, ResponseError) as exc:
        logger.error("request_unreadable", request_id=entry.request.request_id, error=str(exc))


def _result_of(entry: OutboxEntry, publication: commands.Publication) -> outbox.AttemptResult:
    """Return what a publication means for its entry."""
    match publication:
        case commands.Published(receivers):
            outcome = DeliveryOutcome.DELIVERED if receivers else DeliveryOutcome.PENDING
            return outbox.AttemptResult(outcome, receivers)
        case commands.Superseded(named):
            outcome = _outcome_if_superseded(entry, named)
            return outbox.AttemptResult(outcome, is_withheld=outcome is DeliveryOutcome.PENDING)
        case commands.TooLate():
            return outbox.AttemptResult(DeliveryOutcome.PENDING, is_late=True)
        case commands.Refused(error):
            return outbox.AttemptResult(DeliveryOutcome.PENDING, error=error)


def _outcome_if_superseded(entry: OutboxEntry, named: str) -> DeliveryOutcome:
    """Return what it means that the session's key names another request than this one.

    If the database knows that one as older, its session has not heard of this one yet. An
    agent on Redis is about to write it; a request opened here that Redis missed is announced now,
    unless the key has changed meanwhile. Either way the signal is sent again.
    """
    request = entry.request
    older = ApprovalRequest.objects.filter(session_id=request.session_id).exclude(pk=request.pk)
    # Only possible ids are looked up: PostgreSQL refuses a NUL.
    if not (is_id(named) and older.filter(request_id=named).exists()):
        return _final_outcome(entry, DeliveryOutcome.SUPERSEDED)
    if request.origin != Origin.REDIS:
        commands.announce(request, instead_of=named)
    return DeliveryOutcome.PENDING


def _final_outcome(entry: OutboxEntry, outcome: DeliveryOutcome) -> DeliveryOutcome:
    """Return how an entry ends: a signal that was received once stays delivered, even if Redis
    has lost it since."""
    return DeliveryOutcome.DELIVERED if entry.receivers else outcome


def _ttl(entry: OutboxEntry) -> int:
    return max(1, round(_seconds_left(entry)))


def _seconds_left(entry: OutboxEntry) -> float:
    """Return for how many more seconds the signal may be sent."""
    return redis_keys.SIGNAL_TTL - (clocks.now() - entry.created_at).total_seconds()
