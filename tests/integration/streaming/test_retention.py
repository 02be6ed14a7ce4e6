"""Old events go, the newer stay whole, and a reader who misses some is told (wire.md, 4.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from dwp_project.environment import Environment
from streaming import events, log, replay, retention
from streaming.models import Event, Session, SessionStatus
from tests.integration.events import END, START, begin, said
from tests.integration.threads import together

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _thirty_days(settings: Settings) -> None:
    settings.DWP_EVENT_RETENTION = 30


def grow(session: Session, count: int, *, days_old: float) -> None:
    """Append pieces of content that were sent so long ago."""
    session.refresh_from_db()
    at = NOW - timedelta(days=days_old)
    texts = [said(str(session.last_sequence + number)) for number in range(1, count + 1)]
    log.append(session.pk, texts, after=session.last_sequence, lease=1, now=at)


def end(session: Session, *, days_old: float) -> None:
    session.refresh_from_db()
    at, after = NOW - timedelta(days=days_old), session.last_sequence
    log.append(session.pk, [END], after=after, lease=1, ending=SessionStatus.COMPLETED, now=at)


def kept(session: Session) -> list[int]:
    return list(session.events.order_by("sequence").values_list("sequence", flat=True))


def sent(page: replay.ReplayPage) -> list[tuple[int, str]]:
    """Return sequence and name of every frame of a page."""
    found = re.findall(r"^id: (\d+)\nevent: (\w+)$", page.frames.decode(), re.MULTILINE)
    return [(int(number) & events.MAX_SEQUENCE, name) for number, name in found]


def test_events_older_than_the_retention_are_removed() -> None:
    old, young = begin(), begin()
    grow(old, 2, days_old=31)
    end(old, days_old=30.1)
    grow(young, 2, days_old=29.9)

    assert retention.remove_old(now=NOW) == 3

    assert (kept(old), kept(young)) == ([], [1, 2])
    assert Session.objects.filter(pk=old.pk, status="completed").exists()
    assert retention.remove_old(now=NOW) == 0


def test_session_that_still_runs_loses_its_oldest_events_only() -> None:
    session, other = begin(), begin()
    grow(session, 3, days_old=40)
    grow(other, 1, days_old=35)
    grow(session, 2, days_old=1)

    assert retention.remove_old(now=NOW) == 4

    assert kept(session) == [4, 5]


def test_clock_that_jumped_makes_no_gap() -> None:
    session = begin()
    grow(session, 2, days_old=40)
    grow(session, 1, days_old=5)
    grow(session, 1, days_old=40)

    retention.remove_old(now=NOW)

    assert kept(session) == [3, 4]


def test_removal_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 10)
    session = begin()
    grow(session, 35, days_old=40)

    assert retention.remove_old(now=NOW, limit=20) == 20
    assert kept(session) == list(range(21, 36))
    assert retention.remove_old(now=NOW) == 15


def test_retention_of_no_days_keeps_everything(settings: Settings) -> None:
    settings.DWP_EVENT_RETENTION = 0
    session = begin()
    grow(session, 1, days_old=4000)

    assert retention.remove_old(now=NOW) == 0


@pytest.mark.parametrize("text", ["-1", "thirty", "1.5", "1000001", ""])
def test_retention_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DWP_EVENT_RETENTION", text)

    with pytest.raises(ImproperlyConfigured, match="DWP_EVENT_RETENTION"):
        Environment().whole("DWP_EVENT_RETENTION", default=30)


def test_retention_is_thirty_days_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DWP_EVENT_RETENTION", raising=False)

    assert Environment().whole("DWP_EVENT_RETENTION", default=30) == 30


# --- readers ------------------------------------------------------------------------------


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

    assert sent(page) == [(3, "stream_reset"), (4, "content"), (5, "content")]
    assert (page.sequence, page.is_last, page.is_partial) == (5, False, False)


@pytest.mark.parametrize("after", [3, 4, 5])
def test_cursor_that_misses_nothing_is_not_reset(after: int) -> None:
    session = running_from_four()

    page = replay.read(session.pk, after)

    assert sent(page) == [(number, "content") for number in range(after + 1, 6)]


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

    assert (sent(page), page.sequence, page.is_last) == ([(3, "stream_reset")], 3, True)
    assert replay.read(session.pk, 3) == replay.ReplayPage(b"", 3, is_last=True)


def test_running_session_of_which_nothing_is_kept_goes_on_after_the_reset() -> None:
    session = begin()
    grow(session, 2, days_old=40)
    retention.remove_old(now=NOW)
    page = replay.read(session.pk, 0)
    assert (sent(page), page.is_last, page.is_partial) == ([(2, "stream_reset")], False, False)

    grow(session, 1, days_old=0)

    assert sent(replay.read(session.pk, page.sequence)) == [(3, "content")]


def test_events_that_go_between_two_pages_are_told() -> None:
    session = begin()
    log.append(session.pk, [START], after=0, lease=1, now=NOW - timedelta(days=40))
    grow(session, 799, days_old=40)
    grow(session, 10, days_old=1)
    first = replay.read(session.pk, 0)
    assert (first.sequence, first.is_partial) == (500, True)

    retention.remove_old(now=NOW)

    second = replay.read(session.pk, first.sequence)
    assert sent(second)[:2] == [(800, "stream_reset"), (801, "content")]
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

    assert sent(page) == [(600, "stream_reset"), *((n, "content") for n in range(601, 606))]


# --- pages --------------------------------------------------------------------------------


def test_page_of_large_events_is_bounded_in_bytes() -> None:
    session = begin()
    large = "가" * 33_000  # about 99 KB in UTF-8, a third of it in characters
    for after in range(12):
        log.append(session.pk, [said(large)], after=after, lease=1)
    after, pages = 0, []

    while (page := replay.read(session.pk, after)).frames:
        assert len(page.frames) <= replay.PAGE_BYTES * 2  # content is sent twice, and framed
        pages.append(len(sent(page)))
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
        pages.append(sent(page))
        after = page.sequence

    assert pages == [[(1, "content")], [(2, "content")], [(3, "content")]]


def test_idle_reader_costs_one_query(django_assert_num_queries: Any) -> None:
    session = begin()
    grow(session, 3, days_old=0)

    with django_assert_num_queries(1):
        assert replay.read(session.pk, 3) == replay.ReplayPage(b"", 3, is_last=False)


# --- at once ------------------------------------------------------------------------------


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
        found: list[tuple[int, str]] = []
        after, is_last = 0, False
        while not is_last:
            page = replay.read(session.pk, after)
            found += sent(page)
            after, is_last = page.sequence, page.is_last
        return found

    _, *readers = together([remove, read, read, read, read])

    for found in readers:
        expected = 1
        for sequence, name in found:
            if name == "stream_reset":
                assert sequence >= expected
            else:
                assert sequence == expected
            expected = sequence + 1
        assert expected == 1602
