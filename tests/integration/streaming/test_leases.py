"""Leases: held by one process, timed by the database, numbered (docs/adr/0021)."""

from __future__ import annotations

import os
import threading
from datetime import timedelta

import pytest
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from streaming import leases, log
from streaming.log import LeaseLost
from streaming.models import Session, SessionStatus
from tests.integration.events import END, START, begin, rows, said
from tests.integration.takeovers import OTHER, lapse, taken_elsewhere
from tests.integration.threads import together

pytestmark = pytest.mark.django_db


def lasts(session: Session, seconds: float) -> bool:
    """Say whether the lease lasts longer than that by the database's clock."""
    later = Q(lease_expires_at__gt=Now() + timedelta(seconds=seconds))
    return Session.objects.filter(later, pk=session.pk).exists()


def test_session_is_begun_under_a_lease_of_this_process() -> None:
    session = begin()

    assert (session.lease_owner, session.lease_number) == (leases.owner(), 1)
    assert lasts(session, leases.TTL_SECONDS - 5)
    assert not lasts(session, leases.TTL_SECONDS)


def test_forked_process_is_another_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = leases.owner()
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)

    assert leases.owner() not in ("", parent)
    assert leases.owner() == leases.owner()


def test_lease_is_left_alone_until_it_has_run_out() -> None:
    session = begin()
    assert leases.take_over_expired(limit=50) == []

    lapse(session)

    [taken] = leases.take_over_expired(limit=50)
    assert (taken.pk, taken.lease_owner, taken.lease_number) == (session.pk, leases.owner(), 2)
    assert lasts(session, leases.TTL_SECONDS - 5)
    assert leases.take_over_expired(limit=50) == []


@pytest.mark.parametrize(("moment", "is_over"), [(-0.2, True), (-3.0, True), (3.0, False)])
def test_lease_runs_out_to_the_fraction_of_a_second(moment: float, is_over: bool) -> None:
    session = begin()
    expires = Now() + timedelta(seconds=moment)
    Session.objects.filter(pk=session.pk).update(lease_expires_at=expires)

    assert bool(leases.take_over_expired(limit=50)) is is_over


def test_session_from_before_leases_counts_as_run_out() -> None:
    session = begin()
    Session.objects.update(lease_owner="", lease_number=0, lease_expires_at=None)

    assert [taken.lease_number for taken in leases.take_over_expired(limit=50)] == [1]
    assert lasts(session, 5)


def test_ended_session_is_not_taken() -> None:
    session = begin()
    log.append(session.pk, [END], after=0, lease=1, ending=SessionStatus.COMPLETED)
    lapse(session)

    assert leases.take_over_expired(limit=50) == []
    assert not leases.take_over(session.pk, 1)
    assert not leases.confirm(session.pk, 1)


def test_process_that_froze_after_taking_does_not_run_under_anothers_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = begin()
    lapse(session)
    take = leases.take_over

    def then_frozen(session_pk: int, number: int) -> bool:
        taken = take(session_pk, number)
        lapse(session)
        taken_elsewhere(session)
        return taken

    monkeypatch.setattr(leases, "take_over", then_frozen)

    assert leases.take_over_expired(limit=50) == []
    session.refresh_from_db()
    assert (session.lease_owner, session.lease_number) == (OTHER, 3)
    assert not leases.is_leased_here(session, 3)


def test_host_whose_clock_is_wrong_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begin()
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)

    assert leases.take_over_expired(limit=50) == []


def test_batch_is_bounded_and_leaves_out_what_it_is_told_to() -> None:
    sessions = [begin() for _ in range(5)]
    for session in sessions:
        lapse(session)

    taken = leases.take_over_expired(limit=3, exclude=[sessions[0].pk])

    assert taken == sessions[1:4]


def test_renewing_hundreds_of_sessions_takes_two_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    sessions = [begin() for _ in range(200)]
    Session.objects.update(lease_expires_at=Now())

    with django_assert_num_queries(2):
        renewed = leases.renew([session.pk for session in sessions])

    assert len(renewed) == 200
    assert all(lasts(session, 5) for session in sessions[::50])


def test_lease_that_ran_out_is_renewed_if_nobody_took_it() -> None:
    session = begin()
    Session.objects.update(lease_expires_at=timezone.now() - timedelta(hours=1))

    leases.renew([session.pk])

    assert lasts(session, 5)


def test_lease_of_another_is_not_renewed() -> None:
    session = begin()
    lapse(session)
    Session.objects.update(lease_number=2)

    rows = leases.renew([session.pk])

    assert rows[session.pk].lease_number == 2
    assert not lasts(session, 0)


def test_confirming_extends_the_lease() -> None:
    session = begin()
    Session.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    assert leases.confirm(session.pk, 1)

    assert not leases.take_over(session.pk, 1)
    assert not leases.confirm(session.pk, 2)


def test_released_lease_is_free_at_once_and_fences_the_last_run() -> None:
    session, other = begin(), begin()
    taken_elsewhere(other)

    assert leases.release([session.pk, other.pk]) == 1

    with pytest.raises(LeaseLost):
        log.append(session.pk, [START], after=0, lease=1)
    [taken] = leases.take_over_expired(limit=50)
    assert (taken.pk, taken.lease_number) == (session.pk, 3)
    other.refresh_from_db()
    assert (other.lease_owner, other.lease_number) == (OTHER, 2)


# --- fencing ------------------------------------------------------------------------------


def test_event_under_an_old_lease_is_refused() -> None:
    session = begin()
    taken_elsewhere(session)

    for ending in (None, SessionStatus.FAILED):
        with pytest.raises(LeaseLost):
            log.append(session.pk, [START], after=0, lease=1, ending=ending)
    assert rows(session) == []


def test_repeated_event_under_an_old_lease_is_refused_too() -> None:
    # Told that its event is there, a run would go on to act.
    session = begin()
    log.append(session.pk, [START], after=0, lease=1)
    taken_elsewhere(session)

    with pytest.raises(LeaseLost):
        log.append(session.pk, [START], after=0, lease=1)


# --- many at once -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_eight_that_take_at_once_each_session_goes_to_one(redis_client: object) -> None:
    sessions = [begin() for _ in range(24)]
    for session in sessions:
        lapse(session)

    batches = together([lambda: leases.take_over_expired(limit=10) for _ in range(8)])

    taken = [session.pk for batch in batches for session in batch]
    taken += [session.pk for session in leases.take_over_expired(limit=50)]
    assert sorted(taken) == [session.pk for session in sessions]
    assert set(Session.objects.values_list("lease_number", flat=True)) == {2}


@pytest.mark.django_db(transaction=True)
def test_writer_and_taker_agree_on_the_last_event(redis_client: object) -> None:
    session = begin()
    lapse(session)
    begun = threading.Event()

    def write() -> int:
        for after in range(500):
            try:
                log.append(session.pk, [said(str(after))], after=after, lease=1)
            except LeaseLost:
                return after
            if after == 5:
                begun.set()
        raise AssertionError("nobody took over")

    def take() -> int:
        begun.wait(30)
        assert leases.take_over(session.pk, 1)
        return Session.objects.get(pk=session.pk).last_sequence

    written, seen = together([write, take])

    assert written == seen >= 6
    assert len(rows(session)) == seen
