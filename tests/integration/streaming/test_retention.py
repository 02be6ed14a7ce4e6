"""Old events go, the newer stay whole, and a reader who misses some is told (wire.md, 4.4)."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from dwp_project.environment import Environment
from streaming import retention
from streaming.models import Session
from tests.integration.events import NOW, begin, end, grow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("thirty_days")]


def remaining(session: Session) -> list[int]:
    return list(session.events.order_by("sequence").values_list("sequence", flat=True))


def test_events_older_than_the_retention_are_removed() -> None:
    old, young = begin(), begin()
    grow(old, 2, days_old=31)
    end(old, days_old=30.1)
    grow(young, 2, days_old=29.9)

    assert retention.remove_old(now=NOW) == 3

    assert (remaining(old), remaining(young)) == ([], [1, 2])
    assert Session.objects.filter(pk=old.pk, status="completed").exists()
    assert retention.remove_old(now=NOW) == 0


def test_session_that_still_runs_loses_its_oldest_events_only() -> None:
    session, other = begin(), begin()
    grow(session, 3, days_old=40)
    grow(other, 1, days_old=35)
    grow(session, 2, days_old=1)

    assert retention.remove_old(now=NOW) == 4

    assert remaining(session) == [4, 5]


def test_clock_that_jumped_makes_no_gap() -> None:
    session = begin()
    grow(session, 2, days_old=40)
    grow(session, 1, days_old=5)
    grow(session, 1, days_old=40)

    retention.remove_old(now=NOW)

    assert remaining(session) == [3, 4]


def test_removal_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 10)
    session = begin()
    grow(session, 35, days_old=40)

    assert retention.remove_old(now=NOW, limit=20) == 20
    assert remaining(session) == list(range(21, 36))
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


# --- pages --------------------------------------------------------------------------------


# --- at once ------------------------------------------------------------------------------
