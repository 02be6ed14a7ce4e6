"""Reading events back, from the database and from wake-ups (docs/reference/wire.md, 4.5)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streaming import events, log, replay, retention
from streaming.models import Event, Session, SessionStatus
from tests.integration.events import END, NOW, START, begin, content_of, end, frames_in, grow, said
from tests.integration.threads import together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("thirty_days")]


def test_read_returns_the_frames_after_a_sequence() -> None:
    session = begin()
    log.append(session.pk, [START, said("a"), said("b")], after=0, lease=1)

    page = replay.read(session.pk, 1)

    assert content_of(page) == ["a", "b"]
    assert (page.sequence, page.is_last, page.is_partial) == (3, False, False)
    first = f"id: {(session.event_key << 20) | 2}\nevent: content\ndata: {{".encode()
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
    texts: list[str] = []
    after, pages = 0, 0

    while (page := replay.read(session.pk, after)).frames:
        texts += content_of(page)
        after, pages = page.sequence, pages + 1

    assert texts == [str(number) for number in range(1200)]
    assert pages == 3


def test_events_of_another_session_are_not_read() -> None:
    session, other = begin(), begin()
    log.append(other.pk, [START], after=0, lease=1)

    assert replay.read(session.pk, 0).frames == b""


# --- what wake-ups carry ------------------------------------------------------------------


def wakeup_message(after: int, texts: list[str], *, is_end: bool = False) -> bytes:
    carried = {
        "after": after,
        "events": [["content", json.dumps({"content": text})] for text in texts],
        "isEnd": is_end,
    }
    return json.dumps(carried).encode()


def test_carried_events_are_taken_where_they_are_the_next() -> None:
    page = replay.from_wakeup(wakeup_message(4, ["a", "b"]), 7, 4)

    assert page is not None
    assert content_of(page) == ["a", "b"]
    assert (page.sequence, page.is_last) == (6, False)
    assert page.frames.startswith(f"id: {(7 << 20) | 5}\n".encode())


def test_carried_end_is_the_last() -> None:
    page = replay.from_wakeup(wakeup_message(4, ["a"], is_end=True), 7, 4)

    assert page is not None
    assert page.is_last


def test_carried_events_behind_a_gap_are_not_taken() -> None:
    assert replay.from_wakeup(wakeup_message(5, ["a"]), 7, 4) is None


@pytest.mark.parametrize(("after", "texts"), [(3, ["a"]), (2, ["a", "b"]), (0, ["a"])])
def test_carried_events_that_were_sent_are_skipped(after: int, texts: list[str]) -> None:
    assert replay.from_wakeup(wakeup_message(after, texts), 7, 4) == replay.ReplayPage(
        b"", 4, is_last=False
    )


def test_carried_events_that_were_sent_in_part_are_read_anew() -> None:
    assert replay.from_wakeup(wakeup_message(3, ["a", "b"]), 7, 4) is None


def test_carried_end_that_was_read_already_is_still_the_end() -> None:
    # A reader saw the session running, then the rows with its end: only this call tells it.
    page = replay.from_wakeup(wakeup_message(3, ["end"], is_end=True), 7, 4)

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
        readings: list[str] = []
        after, done = 0, False
        while not done:
            done = over.is_set()
            page = replay.read(session.pk, after)
            readings += content_of(page)
            after = page.sequence
        return readings

    jobs: list[Callable[[], list[str]]] = [write, read, read, read]
    _, *readings = together(jobs)

    assert readings == [[str(number) for number in range(count)]] * 3


# --- events that are no longer kept -------------------------------------------------------


def running_from_four() -> Session:
    """Return a running session of five events, the first three of them gone."""
    session = begin()
    grow(session, 3, days_old=40)
    grow(session, 2, days_old=1)
    retention.remove_old(now=NOW)
    return session


@pytest.mark.parametrize("after", [0, 1, 2])
def test_cursor_older_than_what_is_kept_is_reset(after: int) -> None:
    session = running_from_four()

    page = replay.read(session.pk, after)

    assert frames_in(page) == [(3, "stream_reset"), (4, "content"), (5, "content")]
    assert (page.sequence, page.is_last, page.is_partial) == (5, False, False)


@pytest.mark.parametrize("after", [3, 4, 5])
def test_cursor_that_misses_nothing_is_not_reset(after: int) -> None:
    session = running_from_four()

    page = replay.read(session.pk, after)

    assert frames_in(page) == [(number, "content") for number in range(after + 1, 6)]


def test_reset_is_not_kept_and_has_the_payload_of_the_table() -> None:
    session = running_from_four()

    text = replay.read(session.pk, 0).frames.decode().split("data: ")[1].split("\n")[0]

    assert events.is_payload_of(text, "stream_reset", events.fields_of("stream_reset", text))
    assert not Event.objects.filter(name="stream_reset").exists()


def test_session_of_which_nothing_is_kept_is_reset_to_its_end() -> None:
    session = begin()
    grow(session, 2, days_old=40)
    end(session, days_old=40)
    retention.remove_old(now=NOW)

    page = replay.read(session.pk, 1)

    assert (frames_in(page), page.sequence, page.is_last) == ([(3, "stream_reset")], 3, True)
    assert replay.read(session.pk, 3) == replay.ReplayPage(b"", 3, is_last=True)


def test_running_session_of_which_nothing_is_kept_goes_on_after_the_reset() -> None:
    session = begin()
    grow(session, 2, days_old=40)
    retention.remove_old(now=NOW)
    page = replay.read(session.pk, 0)
    assert (frames_in(page), page.is_last, page.is_partial) == ([(2, "stream_reset")], False, False)

    grow(session, 1, days_old=0)

    assert frames_in(replay.read(session.pk, page.sequence)) == [(3, "content")]


def test_events_that_go_between_two_pages_are_told() -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1, now=NOW - timedelta(days=40))
    grow(session, 799, days_old=40)
    grow(session, 10, days_old=1)
    first = replay.read(session.pk, 0)
    assert (first.sequence, first.is_partial) == (500, True)

    retention.remove_old(now=NOW)

    second = replay.read(session.pk, first.sequence)
    assert frames_in(second)[:2] == [(800, "stream_reset"), (801, "content")]
    assert second.sequence == 810


def test_events_that_go_while_a_page_is_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session = begin()
    grow(session, 600, days_old=40)
    grow(session, 5, days_old=1)
    real = replay._last_that_fits

    def slow(sizes: Any) -> int:
        cut = real(sizes)
        retention.remove_old(now=NOW)
        return cut

    monkeypatch.setattr(replay, "_last_that_fits", slow)

    page = replay.read(session.pk, 0)

    assert frames_in(page) == [(600, "stream_reset"), *((n, "content") for n in range(601, 606))]


# --- pages --------------------------------------------------------------------------------


def test_page_of_large_events_is_bounded_in_bytes() -> None:
    session = begin()
    large = "가" * 33_000  # about 99 KB in UTF-8, a third of it in characters
    for after in range(12):
        log.append(session.pk, [said(large)], after=after, lease=1)
    after, pages = 0, []

    while (page := replay.read(session.pk, after)).frames:
        assert len(page.frames) <= replay.PAGE_BYTES * 2  # content is sent twice, and framed
        pages.append(len(frames_in(page)))
        after = page.sequence
        if not page.is_partial:
            break

    assert sum(pages) == 12
    assert max(pages) <= 5
    assert len(pages) >= 3


def test_event_larger_than_a_page_has_one_of_its_own() -> None:
    session = begin()
    log.append(session.pk, [said("a"), said("x" * 1024**2), said("b")], after=0, lease=1)

    pages, after = [], 0
    for _ in range(3):
        page = replay.read(session.pk, after)
        pages.append(frames_in(page))
        after = page.sequence

    assert pages == [[(1, "content")], [(2, "content")], [(3, "content")]]


def test_idle_reader_costs_one_query(django_assert_num_queries: Any) -> None:
    session = begin()
    grow(session, 3, days_old=0)

    with django_assert_num_queries(1):
        assert replay.read(session.pk, 3) == replay.ReplayPage(b"", 3, is_last=False)


@pytest.mark.django_db(transaction=True)
def test_readers_under_retention_miss_only_what_they_are_told_of(redis_client: object) -> None:
    session = begin()
    grow(session, 1500, days_old=40)
    grow(session, 100, days_old=0)
    end(session, days_old=0)

    def remove() -> list[tuple[int, str]]:
        retention.remove_old(now=NOW, limit=1)
        retention.remove_old(now=NOW)
        return []

    def read() -> list[tuple[int, str]]:
        frames: list[tuple[int, str]] = []
        after, is_last = 0, False
        while not is_last:
            page = replay.read(session.pk, after)
            frames += frames_in(page)
            after, is_last = page.sequence, page.is_last
        return frames

    _, *readers = together([remove, read, read, read, read])

    for frames in readers:
        expected = 1
        for sequence, name in frames:
            if name == "stream_reset":
                assert sequence >= expected
            else:
                assert sequence == expected
            expected = sequence + 1
        assert expected == 1602
