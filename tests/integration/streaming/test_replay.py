"""Reading events back, from the database and from wake-ups (docs/reference/wire.md, 4.5)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from streaming import log, replay
from streaming.models import SessionStatus
from tests.integration.events import END, START, begin, content_of, said
from tests.integration.threads import together

pytestmark = pytest.mark.django_db


def test_read_returns_the_frames_after_a_sequence() -> None:
    session = begin()
    log.append(session.pk, [START, said("a"), said("b")], after=0, lease=1)

    page = replay.read(session.pk, 1)

    assert content_of(page) == ["a", "b"]
    assert (page.sequence, page.is_last, page.is_partial) == (3, False, False)
    first = f"id: {(session.pk << 20) | 2}\nevent: content\ndata: {{".encode()
    assert page.frames.startswith(first)


def test_read_of_nothing_new_is_empty() -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1)

    assert replay.read(session.pk, 1) == replay.ReplayPage(b"", 1, is_last=False)


def test_read_says_when_it_was_the_last() -> None:
    session = begin()
    log.append(session.pk, [START, END], after=0, lease=1, ending=SessionStatus.COMPLETED)

    assert replay.read(session.pk, 0).is_last
    assert replay.read(session.pk, 2) == replay.ReplayPage(b"", 2, is_last=True)


def test_read_of_1200_events_is_bounded_and_complete() -> None:
    session = begin()
    log.append(session.pk, [said(str(number)) for number in range(1200)], after=0, lease=1)
    found: list[str] = []
    after, pages = 0, 0

    while (page := replay.read(session.pk, after)).frames:
        found += content_of(page)
        after, pages = page.sequence, pages + 1

    assert found == [str(number) for number in range(1200)]
    assert pages == 3


def test_events_of_another_session_are_not_read() -> None:
    session, other = begin(), begin()
    log.append(other.pk, [START], after=0, lease=1)

    assert replay.read(session.pk, 0).frames == b""


# --- what wake-ups carry ------------------------------------------------------------------


def told(after: int, texts: list[str], *, is_end: bool = False) -> bytes:
    carried = {
        "after": after,
        "events": [["content", json.dumps({"content": text})] for text in texts],
        "isEnd": is_end,
    }
    return json.dumps(carried).encode()


def test_carried_events_are_taken_where_they_are_the_next() -> None:
    page = replay.from_wakeup(told(4, ["a", "b"]), 7, 4)

    assert page is not None
    assert content_of(page) == ["a", "b"]
    assert (page.sequence, page.is_last) == (6, False)
    assert page.frames.startswith(f"id: {(7 << 20) | 5}\n".encode())


def test_carried_end_is_the_last() -> None:
    page = replay.from_wakeup(told(4, ["a"], is_end=True), 7, 4)

    assert page is not None
    assert page.is_last


def test_carried_events_behind_a_gap_are_not_taken() -> None:
    assert replay.from_wakeup(told(5, ["a"]), 7, 4) is None


@pytest.mark.parametrize(("after", "texts"), [(3, ["a"]), (2, ["a", "b"]), (0, ["a"])])
def test_carried_events_that_were_sent_are_skipped(after: int, texts: list[str]) -> None:
    assert replay.from_wakeup(told(after, texts), 7, 4) == replay.ReplayPage(b"", 4, is_last=False)


def test_carried_events_that_were_sent_in_part_are_read_anew() -> None:
    assert replay.from_wakeup(told(3, ["a", "b"]), 7, 4) is None


def test_carried_end_that_was_read_already_is_still_the_end() -> None:
    # A reader saw the session running, then the rows with its end: only this call tells it.
    page = replay.from_wakeup(told(3, ["end"], is_end=True), 7, 4)

    assert page is not None
    assert page.is_last


@pytest.mark.django_db(transaction=True)
def test_readers_of_a_growing_session_skip_nothing(redis_client: object) -> None:
    session, count = begin(), 40
    over = threading.Event()

    def write() -> list[str]:
        for number in range(count):
            log.append(session.pk, [said(str(number))], after=number, lease=1)
        over.set()
        return []

    def read() -> list[str]:
        found: list[str] = []
        after, done = 0, False
        while not done:
            done = over.is_set()
            page = replay.read(session.pk, after)
            found += content_of(page)
            after = page.sequence
        return found

    jobs: list[Callable[[], list[str]]] = [write, read, read, read]
    _, *found = together(jobs)

    assert found == [[str(number) for number in range(count)]] * 3
