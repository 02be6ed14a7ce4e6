"""Events are rows, appended in one order (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import transaction

from streaming import events, log
from streaming.agents.base import AgentEvent
from streaming.log import SessionCancelled, SessionEnded, SessionFull
from streaming.models import Event, Session, SessionStatus
from tests.integration.events import END, START, begin, rows, said
from tests.integration.threads import together

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 16, 12, 0, 0, 900_000, tzinfo=UTC)


def test_append_numbers_events_from_one() -> None:
    session = begin()

    assert log.append(session.pk, [START], after=0, lease=1) == 1
    assert log.append(session.pk, [said("a"), said("b")], after=1, lease=1) == 3

    assert rows(session) == [(1, "start"), (2, "content"), (3, "content")]
    session.refresh_from_db()
    assert (session.last_sequence, session.status) == (3, "running")


def test_append_keeps_the_payload_that_is_sent() -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1, now=NOON)

    row = Event.objects.get()

    assert row.payload == events.payload(
        "start", {"message": "go"}, session_id=session.session_id, timestamp=1768564800
    )
    assert row.created_at == NOON


def test_append_with_an_end_closes_the_session() -> None:
    session = begin()
    log.append(session.pk, [END], after=0, lease=1, ending=SessionStatus.COMPLETED, now=NOON)

    session.refresh_from_db()
    assert (session.status, session.ended_at) == ("completed", NOON)


@pytest.mark.parametrize("ending", [None, SessionStatus.FAILED])
def test_append_to_an_ended_session_is_refused(ending: SessionStatus | None) -> None:
    session = begin()
    log.append(session.pk, [END], after=0, lease=1, ending=SessionStatus.COMPLETED)

    with pytest.raises(SessionEnded):
        log.append(session.pk, [said("x"), said("y")], after=1, lease=1, ending=ending)

    assert rows(session) == [(1, "end")]


@pytest.mark.parametrize("after", [0, 1, 3, 99])
def test_append_behind_another_sequence_is_refused(after: int) -> None:
    session = begin()
    log.append(session.pk, [START, said("a")], after=0, lease=1)

    with pytest.raises(SessionEnded):
        log.append(session.pk, [said("b"), said("c"), said("d")], after=after, lease=1)

    assert len(rows(session)) == 2


@pytest.mark.parametrize("ending", [None, SessionStatus.COMPLETED])
def test_append_repeated_adds_nothing(ending: SessionStatus | None) -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1)
    new = [said("a"), END] if ending else [said("a"), said("b")]

    first = log.append(session.pk, new, after=1, lease=1, ending=ending)
    again = log.append(session.pk, new, after=1, lease=1, ending=ending)

    assert first == again == 3
    assert len(rows(session)) == 3


def test_append_of_a_second_writer_is_refused_though_it_has_as_many_events() -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1)
    log.append(session.pk, [said("of the first writer")], after=1, lease=1)

    with pytest.raises(SessionEnded):
        log.append(session.pk, [said("of the second writer")], after=1, lease=1)


@pytest.mark.parametrize(
    "event",
    [
        AgentEvent("applause", {}),
        AgentEvent("start", {}),
        AgentEvent("start", {"message": "go", "extra": 1}),
        AgentEvent("content", {"content": float("nan"), "chunk": True}),
    ],
)
def test_append_of_an_event_that_there_is_not_is_refused(event: AgentEvent) -> None:
    session = begin()

    with pytest.raises(ValueError, match=r"event|JSON"):
        log.append(session.pk, [START, event], after=0, lease=1)

    assert rows(session) == []


def test_cancelled_session_takes_only_its_closing_events() -> None:
    session = begin()
    Session.objects.update(cancel_requested_at=NOON)

    with pytest.raises(SessionCancelled):
        log.append(session.pk, [said("x")], after=0, lease=1)

    log.append(session.pk, [END], after=0, lease=1, ending=SessionStatus.CANCELLED)
    assert rows(session) == [(1, "end")]


def test_full_session_takes_only_its_closing_events() -> None:
    session = begin()
    nearly = events.MAX_SEQUENCE - 10
    Session.objects.update(last_sequence=nearly)

    with pytest.raises(SessionFull):
        log.append(session.pk, [said("x")], after=nearly, lease=1)

    last = log.append(
        session.pk, [said("x"), END], after=nearly, lease=1, ending=SessionStatus.FAILED
    )
    assert events.cursor_of(str(events.event_id(session.event_key, last))) == (
        session.event_key,
        last,
    )


# --- many at once -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_eight_writers_never_leave_a_gap(redis_client: object) -> None:
    session = begin()

    def write(number: int) -> None:
        for turn in range(10):
            written = False
            while not written:
                after = Session.objects.get(pk=session.pk).last_sequence
                try:
                    log.append(session.pk, [said(f"{number}-{turn}")], after=after, lease=1)
                    written = True
                except SessionEnded:
                    continue

    together([lambda n=n: write(n) for n in range(8)])  # type: ignore[misc]

    session.refresh_from_db()
    assert [sequence for sequence, _ in rows(session)] == list(range(1, session.last_sequence + 1))


@pytest.mark.django_db(transaction=True)
def test_event_that_is_rolled_back_uses_up_no_number(redis_client: object) -> None:
    session = begin()

    def fail_later() -> None:
        with transaction.atomic():
            log.append(session.pk, [said("x")], after=0, lease=1)
            raise LookupError

    with pytest.raises(LookupError):
        fail_later()

    assert log.append(session.pk, [START], after=0, lease=1) == 1
