"""Dates and times as people type them: a day or a minute has a first and a last moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as fixed

import pytest
from django.utils import timezone

from hitl.text import dates


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-01-16", "2026-01-16T00:00:00", "2026-01-16T23:59:59.999999"),
        ("2026-01-16T09:30", "2026-01-16T09:30:00", "2026-01-16T09:30:59.999999"),
        ("2026-01-16T09:30:05", "2026-01-16T09:30:05", "2026-01-16T09:30:05"),
        (" 2026-01-16 ", "2026-01-16T00:00:00", "2026-01-16T23:59:59.999999"),
    ],
)
def test_day_and_minute_mean_their_first_or_last_moment(text: str, first: str, last: str) -> None:
    with timezone.override("Asia/Seoul"):
        assert dates.parse(text) == datetime.fromisoformat(f"{first}+09:00")
        assert dates.parse(text, is_end=True) == datetime.fromisoformat(f"{last}+09:00")


def test_zone_that_is_named_counts() -> None:
    zone = fixed(timedelta(hours=-5))

    assert dates.parse("2026-01-16T09:30-05:00") == datetime(2026, 1, 16, 9, 30, tzinfo=zone)


@pytest.mark.parametrize("text", ["", "  "])
def test_empty_text_is_no_time(text: str) -> None:
    assert dates.parse(text) is None


@pytest.mark.parametrize(
    "text", ["yesterday", "32 January", "2026-13-01", "0001-01-01", "9999-12-31", "1969-12-31"]
)
def test_text_that_is_no_time_or_of_an_impossible_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dates.parse(text)


def test_zone_of_a_browser_counts_for_a_time_without_one() -> None:
    seoul = dates.zone_named("Asia/Seoul")

    assert dates.parse("2026-01-16T09:30", zone=seoul) == datetime.fromisoformat(
        "2026-01-16T09:30+09:00"
    )
    assert dates.parse("2026-01-16T09:30Z", zone=seoul) == datetime.fromisoformat(
        "2026-01-16T09:30+00:00"
    )


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "Asia", "a\0b", "x" * 65]
)
def test_name_of_no_zone_is_none(name: str) -> None:
    assert dates.zone_named(name) is None


def test_time_on_a_page_is_an_element_in_the_deployments_zone() -> None:
    moment = datetime.fromisoformat("2026-01-16T09:30:05+00:00")

    with timezone.override("Asia/Seoul"):
        assert (
            dates.html(moment)
            == '<time datetime="2026-01-16T09:30:05+00:00">2026-01-16 18:30:05</time>'
        )
