"""Publishes signals from the outbox through the guarded script, and records what became of each
(docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project import clocks, wakeup
from dwp_project.jsontext import InvalidJSON
from dwp_project.wakeup import redis_may_be_away
from hitl import metrics
from hitl.delivery import (
    attempts,
    commands,
    outbox,
    redis_state,
    request_key,
    superseded,
    withholding,
)
from hitl.delivery import keys as redis_keys
from hitl.delivery.redis_clock import RedisReading
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome, Origin

logger = get_logger(__name__)

# So old is a request when its signal is not repeated any more although it was received:
# subscriptions may be dead (wire.md, 5.2).
_REPEATED_UNTIL = timedelta(seconds=10)
# Repeats are at most 4 s apart; more than that between two says that Redis was not reached.
_INTERRUPTED = timedelta(seconds=6)


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


def send_first(decided: outbox.NewEntry, topic: str) -> SendResult:
    """Publish a decision that this process has just committed, and wake those who wait for `topic`
    in other processes.

    One round trip of Redis and one statement, unless something has to be asked first. Never raises
    because Redis is away.
    """
    entry, asked_at, is_outdated = decided
    is_ready = asked_at is not None and not is_outdated and not outbox.is_guarded(entry)
    if asked_at is None or not is_ready or _seconds_left(entry) <= 0 or outbox.unvouched([entry]):
        wakeup.publish_to_others(topic)
        return send([entry])
    result = attempts.AttemptResult(DeliveryOutcome.PENDING, is_away=True)
    with redis_may_be_away("signals_not_published", due=1) as call:
        publication = commands.publish(
            entry.request,
            outbox.text_of(entry),
            seconds=_ttl(entry),
            asked_at=asked_at,
            before=wakeup.messages(topic),
        )
        result = _result_of(entry, publication)
    attempts.record_attempts([(entry, replace(result, error=result.error or call.error))])
    return SendResult(
        is_incomplete=result.outcome is DeliveryOutcome.PENDING,
        is_away=call.has_failed,
        is_late=result.is_late,
    )


def send(entries: Sequence[OutboxEntry]) -> SendResult:
    """Publish entries through the guarded script and record what became of each.

    If Redis is away they stay pending. That raises nothing: a committed decision is never
    turned into an error.
    """
    results = {
        entry.pk: attempts.AttemptResult(
            withholding.final_outcome(
                entry,
                DeliveryOutcome.WITHHELD if entry.is_withheld else DeliveryOutcome.UNHEARD,
            )
        )
        for entry in entries
        if _seconds_left(entry) <= 0
    }
    timely = [entry for entry in entries if entry.pk not in results]
    with redis_may_be_away("signals_not_published", due=len(timely)) as call:
        if timely:
            _send_timely(timely, results)
    away = attempts.AttemptResult(DeliveryOutcome.PENDING, error=call.error, is_away=True)
    came_of = [
        (entry, results.get(entry.pk) or replace(away, is_repeated=entry.is_repeated))
        for entry in entries
    ]
    attempts.record_attempts(came_of)
    # Only now: who scans makes due again what is recorded as waiting.
    if any(result.needs_scan for _, result in came_of):
        wakeup.publish(withholding.SCAN_TOPIC)
    return SendResult(
        is_incomplete=any(result.outcome is DeliveryOutcome.PENDING for _, result in came_of),
        is_away=call.has_failed,
        is_late=any(result.is_late for _, result in came_of),
    )


def record_received(receivers: Mapping[int, int]) -> None:
    """Record that so many have received the signals of these entries, which were sent again."""
    attempts.record_attempts(
        [
            (entry, _result_of(entry, commands.Published(receivers[entry.pk])))
            for entry in outbox.own([*receivers])
        ]
    )


def _send_timely(
    entries: Sequence[OutboxEntry], results: dict[int, attempts.AttemptResult]
) -> None:
    """Send entries whose time is not over; put the result of each into `results`, as long as Redis
    can be reached."""
    # Redis's time first: the database's answer may be acted on for `VALID_SECONDS` from then.
    look = redis_state.look(
        [entry.request.session_id for entry in entries if outbox.is_guarded(entry)],
        [
            entry.request.request_id
            for entry in entries
            if entry.request.origin == Origin.REDIS and not entry.attempts
        ],
    )
    asked_at = look.asked_at
    entries = _without_unvouched(entries, results)
    kept_back, states = withholding.kept_back(entries, look), _key_states(entries)
    idle = {pk for pk, state in states.items() if state.has_signal and not state.listeners}
    again = {entry.pk for entry in entries if entry.is_repeated and entry.pk in states}
    kept_back |= {
        entry.pk: attempts.AttemptResult(DeliveryOutcome.DELIVERED)
        for entry in entries
        if entry.pk in again - kept_back.keys()
        # What Redis has lost is not sent again: its agent may have asked anew.
        and not (
            states[entry.pk].has_signal and (_is_new(entry.request) or _was_interrupted(entry))
        )
    }
    idle = (idle | again) - kept_back.keys()
    _repeat([entry for entry in entries if entry.pk in idle], results, asked_at)
    lost = []
    for entry in _loaded([entry for entry in entries if entry.pk not in idle], results):
        if entry.pk in kept_back:
            if not entry.is_repeated:
                _refresh(entry)
            results[entry.pk] = kept_back[entry.pk]
        elif entry.pk in states and not states[entry.pk].listeners:
            lost.append(entry)
        else:
            publication = commands.publish(
                entry.request,
                outbox.text_of(entry),
                seconds=_ttl(entry),
                asked_at=asked_at,
                texts=look.texts,
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
    entries: Sequence[OutboxEntry], results: dict[int, attempts.AttemptResult]
) -> list[OutboxEntry]:
    """Return the entries whose decision the audit has; put into `results` that the others are
    refused, or wait if a key signed it that is not trusted here: nothing of them is sent or written
    to Redis."""
    unvouched = outbox.unvouched(entries)
    for entry in entries:
        if entry.pk in unvouched:
            # A key that this process does not trust may be the one that others have by now.
            is_final = not outbox.is_by_unknown_key(entry)
            results[entry.pk] = attempts.AttemptResult(
                DeliveryOutcome.REFUSED if is_final else DeliveryOutcome.PENDING,
                error=outbox.NOT_VOUCHED_FOR,
            )
            metrics.unvouched_signals.inc()
            logger.error(
                "signal_not_vouched_for",
                request_id=entry.request.request_id,
                tenant=entry.request.tenant_id,
            )
    return [entry for entry in entries if entry.pk not in unvouched]


def _loaded(
    entries: Sequence[OutboxEntry], results: dict[int, attempts.AttemptResult]
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
    results: dict[int, attempts.AttemptResult],
    asked_at: RedisReading,
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
        request_key.refresh(entry.request)
    except (InvalidJSON, ResponseError) as exc:
        logger.error("request_unreadable", request_id=entry.request.request_id, error=str(exc))


def _result_of(entry: OutboxEntry, publication: commands.Publication) -> attempts.AttemptResult:
    """Return what a publication means for its entry."""
    match publication:
        case commands.Published(receivers):
            is_received = bool(receivers) or entry.is_repeated
            is_repeated = (
                is_received and entry.request.origin == Origin.REDIS and _is_new(entry.request)
            )
            is_settled = is_received and not is_repeated
            return attempts.AttemptResult(
                DeliveryOutcome.DELIVERED if is_settled else DeliveryOutcome.PENDING,
                receivers,
                is_published=True,
                is_repeated=is_repeated,
            )
        case commands.Superseded(named):
            outcome = superseded.outcome_of(entry, named)
            return attempts.AttemptResult(outcome, is_repeated=_goes_on(entry, outcome))
        case commands.TooLate():
            pending = DeliveryOutcome.PENDING
            return attempts.AttemptResult(pending, is_late=True, is_repeated=entry.is_repeated)
        case commands.Refused(error):
            pending = DeliveryOutcome.PENDING
            return attempts.AttemptResult(pending, error=error, is_repeated=entry.is_repeated)


def _goes_on(entry: OutboxEntry, outcome: DeliveryOutcome) -> bool:
    return entry.is_repeated and outcome is DeliveryOutcome.PENDING


def _is_new(request: ApprovalRequest) -> bool:
    """Say whether a signal of this request is repeated although it was received."""
    return clocks.now() - request.created_at < _REPEATED_UNTIL


def _was_interrupted(entry: OutboxEntry) -> bool:
    """Say whether nobody here reached Redis when it was due: it is repeated once more, however old
    its request is by now."""
    return entry.attempted_at is not None and clocks.now() - entry.attempted_at > _INTERRUPTED


def _ttl(entry: OutboxEntry) -> int:
    # At most what the contract says, also for an entry that was dated by a host ahead.
    return min(max(1, round(_seconds_left(entry))), redis_keys.SIGNAL_TTL)


def _seconds_left(entry: OutboxEntry) -> float:
    """Return for how many more seconds the signal may be sent."""
    return redis_keys.SIGNAL_TTL - (clocks.now() - entry.created_at).total_seconds()
