"""The chaos harness's schedule and its sums of healthy time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.chaos.outages import Outages, Part
from tests.chaos.plan import OF_SERVERS, Fault, Kind, plan


def test_a_seed_gives_the_same_plan_again() -> None:
    assert plan(7, 600) == plan(7, 600)
    assert plan(7, 600) != plan(8, 600)


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_has_each_kind_of_fault(seed: int) -> None:
    assert {fault.kind for fault in plan(seed, 300)} == set(Kind)


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_takes_every_server_at_once(seed: int) -> None:
    faults = plan(seed, 2000, every=1.0)
    assert all(len(_held(faults, fault.at)) < 3 for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_in_order(seed: int) -> None:
    times = [fault.at for fault in plan(seed, 500)]
    assert times == sorted(times)


def _held(faults: Iterable[Fault], at: float) -> set[int]:
    return {f.target for f in faults if f.kind in OF_SERVERS and f.at <= at <= f.at + f.seconds}


def _outages(*all_: tuple[Part, int, float, float | None]) -> Outages:
    outages = Outages(3)
    for part, target, begin, end in all_:
        outages.begin(part, target, "", begin).ended = end
    return outages


def test_without_outages_all_time_is_healthy() -> None:
    assert _outages().longest_healthy(10, 20, redis=True, calm=True) == 10
    assert _outages().longest_healthy(20, 10) == 0


def test_the_database_away_parts_healthy_time() -> None:
    outages = _outages((Part.DATABASE, 0, 12, 13))
    assert outages.longest_healthy(10, 20) == 7


def test_an_outage_without_end_lasts() -> None:
    assert _outages((Part.DATABASE, 0, 12, None)).longest_healthy(10, 20) == 2


def test_overlapping_outages_are_one() -> None:
    outages = _outages((Part.DATABASE, 0, 12, 15), (Part.REDIS, 0, 14, 18))
    assert outages.longest_healthy(10, 20, redis=True) == 2
    assert outages.longest_healthy(10, 20) == 5


def test_one_server_with_its_link_is_enough() -> None:
    away = [(Part.SERVER, 0, 10.0, 20.0), (Part.LINK, 1, 10.0, 20.0)]
    outages = _outages(*away)
    assert outages.longest_healthy(10, 20, redis=True) == 10
    outages = _outages(*away, (Part.STOPPED, 2, 10.0, 20.0))
    assert outages.longest_healthy(10, 20, redis=True) == 0
    assert outages.longest_healthy(10, 20) == 10
    assert outages.longest_healthy(10, 20, calm=True) == 0


def test_outages_that_follow_each_other_leave_a_server_all_the_time() -> None:
    outages = _outages((Part.SERVER, 0, 10, 15), (Part.SERVER, 1, 15, 20))
    assert outages.longest_healthy(10, 20) == 10


def test_a_restart_of_redis_in_this_time_wipes() -> None:
    outages = _outages((Part.REDIS, 0, 12, 13))
    assert outages.wiped(10, 20)
    assert not outages.wiped(13, 20)


def test_seconds_without_the_machine_do_not_count() -> None:
    outages = _outages((Part.DATABASE, 0, 18, 20))
    for at, seconds in ((9, 5.0), (12, 1.5), (14, 0.5), (19, 1.0), (25, 9.0)):
        outages.miss(at, seconds)
    assert outages.longest_healthy(10, 20) == 8 - 1.5 - 0.5 - 1.0
    assert outages.missed == 17.0
