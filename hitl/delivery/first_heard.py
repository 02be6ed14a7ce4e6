"""Notes when who opened a request over REST first read its decision: its agent has heard it, and
the signal is not repeated (ADR 0042).

A moment after the answer, which it neither delays nor breaks: one statement for all that were
answered meanwhile.
"""

from __future__ import annotations

import atexit
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Lock, Timer
from typing import Any, NamedTuple

from cachetools import LRUCache
from django.db import connection, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce
from structlog.stdlib import get_logger

from dwp_project import clocks, offload
from dwp_project.outages import DATABASE_AWAY
from hitl.delivery import held, outbox
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome, Origin

logger = get_logger(__name__)

# How long after the first of them those that wait are written. Chosen: a page that shows it reads
# every ten seconds.
_DELAY_SECONDS = 0.5
# How long those whose entries another process has locked are tried again, and how soon. Chosen:
# a relay has an entry for milliseconds, and one that hangs is ended before.
_TRIED_FOR, _RETRY_SECONDS = timedelta(seconds=60), 5.0
# Chosen: as many as are sent to the database in one statement.
_AT_ONCE = 200
# Chosen: more than are answered while the database is away for minutes; and requests whose agents
# go on reading after the decision, of which nothing is written again.
_MOST_WAITING, _MOST_NOTED = 5_000, 20_000


# What was sent, and read by who asked, is delivered (`note_first_heard`).
_DELIVERED_IF_SENT = Case(
    When(
        outcome=DeliveryOutcome.PENDING,
        attempts__gt=0,
        error="",
        then=Value(DeliveryOutcome.DELIVERED),
    ),
    default=F("outcome"),
)


class Answer(NamedTuple):
    """When who opened a request over REST was answered with its decision, and whether that may be
    taken for its agent."""

    at: datetime
    is_to_agent: bool


class FirstHeard:
    """When decisions were first heard, until it is written."""

    def __init__(self) -> None:
        self._heard_at: dict[int, Answer] = {}
        # Written, or waiting to be: who reads again and again is noted once.
        self._noted: LRUCache[int, None] = LRUCache(_MOST_NOTED)
        self._timer: Timer | None = None
        # Those that come while others are written wait until that has ended.
        self._is_writing = False
        self._lock = Lock()

    def add(self, request_pk: int, answer: Answer) -> None:
        """Keep the first time of a request until it is taken, and have it written soon."""
        with self._lock:
            if request_pk not in self._noted and len(self._heard_at) < _MOST_WAITING:
                self._noted[request_pk] = None
                self._heard_at[request_pk] = answer
            self._start(_DELAY_SECONDS)

    def put_back(self, heard_at: dict[int, Answer]) -> None:
        """Keep what was taken and could not be written."""
        with self._lock:
            self._heard_at = {**self._heard_at, **heard_at}

    def forget(self, request_pk: int) -> None:
        """Have the request noted anew if it is read again."""
        with self._lock:
            self._noted.pop(request_pk, None)

    def take(self) -> dict[int, Answer]:
        """Return what waits, by the requests' keys; nothing is written by the timer until
        `end_write`."""
        with self._lock:
            taken, self._heard_at = self._heard_at, {}
            self._is_writing = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return taken

    def end_write(self, delay: float) -> None:
        """Have what waits meanwhile written after so many seconds."""
        with self._lock:
            self._is_writing = False
            self._start(delay)

    def _start(self, delay: float) -> None:
        if self._timer is not None or self._is_writing or not self._heard_at:
            return
        timer = Timer(delay, _write_soon)
        timer.daemon = True
        with suppress(RuntimeError):  # no thread is to be had: the next who reads tries again
            timer.start()
            self._timer = timer


waiting = FirstHeard()


def note(
    request: ApprovalRequest, tenant_id: str, user_id: str, *, is_reading: bool = True
) -> None:
    """Note that this user is answered with the request, if it is decided and they opened it over
    REST. `is_reading` says whether they asked for this request, as their agent does."""
    opener = (request.tenant_id, request.user_id)
    if request.origin == Origin.REST and request.is_decided and opener == (tenant_id, user_id):
        # A person who decides, tries to, or looks at a list says nothing of their agent.
        is_to_agent = is_reading and request.decided_by != user_id
        waiting.add(request.pk, Answer(clocks.estimate(), is_to_agent))


@atexit.register
def write_waiting() -> None:
    """Write what waits; what waits while the database is away goes on waiting."""
    heard_at, delay = waiting.take(), _DELAY_SECONDS
    pks = sorted(heard_at)
    locked: set[int] = set()
    try:
        for start in range(0, len(pks), _AT_ONCE):
            try:
                each = {pk: heard_at[pk] for pk in pks[start : start + _AT_ONCE]}
                locked |= note_first_heard(each)
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())
                waiting.put_back({pk: heard_at[pk] for pk in pks[start:]})
                return
    finally:
        if locked:
            delay = max(_DELAY_SECONDS, _RETRY_SECONDS)
            _try_again({pk: heard_at[pk] for pk in locked})
        waiting.end_write(delay)


def _try_again(locked: dict[int, Answer]) -> None:
    """Keep those that wait for a lock of another process, unless they have waited too long."""
    latest = clocks.estimate() - _TRIED_FOR
    given_up = {pk for pk, answer in locked.items() if answer.at < latest}
    for pk in given_up:
        waiting.forget(pk)
    waiting.put_back({pk: answer for pk, answer in locked.items() if pk not in given_up})


def _write_soon() -> None:
    with suppress(RuntimeError):  # the process ends, and writes what waits itself
        offload.start_afterwards(write_waiting)


def mark_heard(request: ApprovalRequest) -> None:
    """Record that the agent has the decision without the signal, because it runs here.

    The signal is sent once all the same: others read the keys that are set with it.
    """
    now = clocks.now()
    entries = OutboxEntry.objects.filter(request=request)
    # In this order: an attempt that ends in between sees the first, or is seen by the second.
    entries.filter(Q(outcome=DeliveryOutcome.PENDING) | Q(first_heard_at=None)).update(
        heard_at=now, first_heard_at=_first_heard(now)
    )
    pending = entries.pending().filter(attempts__gt=0, error="")
    pending.update(outcome=DeliveryOutcome.DELIVERED)


def note_first_heard(answers: Mapping[int, Answer]) -> set[int]:
    """Write when those who opened requests over REST first had the decisions on them, by the
    requests' keys, unless that is known. What their agents have heard is not repeated.

    A signal that was not sent yet is sent once. Waits for nobody: returns the keys of the requests
    whose entries another process has locked.
    """
    unknown = OutboxEntry.objects.filter(
        request_id__in=[*answers], first_heard_at=None, heard_at=None, receivers=0
    )
    with transaction.atomic():
        unlocked = dict(outbox.unlocked_of(unknown).values_list("pk", "request_id"))
        to_agents = [pk for pk, key in unlocked.items() if answers[key].is_to_agent]
        for pks, is_heard in ((to_agents, True), (unlocked.keys() - {*to_agents}, False)):
            times = [When(pk=pk, then=Value(answers[unlocked[pk]].at)) for pk in pks]
            if times:
                heard_at = Case(*times, default=None)
                change: dict[str, Any] = {"first_heard_at": heard_at}
                if is_heard:
                    change |= {"heard_at": heard_at, "outcome": _DELIVERED_IF_SENT}
                    change["attempts"] = F("attempts") + _unwritten(pks)
                OutboxEntry.objects.filter(pk__in=pks).update(**change)
    for pk in to_agents:
        held.entries.drop(pk)
    if not connection.features.has_select_for_update_skip_locked:
        return set()
    return set(unknown.values_list("request_id", flat=True))


def _unwritten(pks: Collection[int]) -> Case | int:
    """Return how many attempts on each entry its row does not have."""
    counts = [
        When(pk=entry.pk, then=Value(entry.unwritten))
        for entry in held.entries.all()
        if entry.unwritten and entry.pk in pks
    ]
    return Case(*counts, default=Value(0)) if counts else 0


def _first_heard(moment: datetime) -> Coalesce:
    return Coalesce("first_heard_at", Value(moment))
