"""What a process knows of another machine's clock, from its readings."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
import time_machine

from dwp_project import clocks
from dwp_project.clocks import DistantClock, Reading


@dataclass
class Machines:
    """This machine, which has run for `uptime` seconds, and one whose clock says `distant`. Asking
    it takes `there` seconds, and the answer takes `back`."""

    uptime: float = 1000.0
    distant: float = 1_700_000_000.0
    there: float = 0.001
    back: float = 0.001
    asked: int = 0
    is_away: bool = False
    clock: DistantClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = DistantClock(self.read, lambda: self.uptime)

    def pass_(self, seconds: float) -> None:
        self.uptime += seconds
        self.distant += seconds

    def read(self) -> Reading:
        return clocks.reading_of(self.ask, lambda: self.uptime)

    def ask(self) -> float:
        self.asked += 1
        if self.is_away:
            raise ConnectionError
        self.pass_(self.there)
        answer = self.distant
        self.pass_(self.back)
        return answer

    @property
    def error(self) -> float:
        """By how much what is known is wrong."""
        return abs(self.clock.offset() + self.uptime - self.distant)


@pytest.fixture(autouse=True)
def again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have old readings taken again, as outside tests."""
    monkeypatch.setattr(clocks, "AGAIN_SECONDS", 60.0)


def test_reading_is_taken_in_the_middle_of_the_round_trip() -> None:
    machines = Machines(there=0.4, back=0.4)
    assert machines.error < 1e-6
    assert machines.read().uncertainty == pytest.approx(0.4)


def test_time_passes_without_asking() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.pass_(50)
    assert machines.error < 1e-6
    assert machines.asked == 1


def test_setting_the_hosts_clock_changes_nothing_but_the_skew() -> None:
    machines = Machines()
    machines.clock.measure()
    before = machines.clock.offset()
    with time_machine.travel(machines.distant + 20, tick=False):
        assert machines.clock.offset() == before
        assert machines.clock.skew() == pytest.approx(20)
    with time_machine.travel(machines.distant - 600, tick=False):
        assert machines.clock.skew() == pytest.approx(-600)


def test_answer_that_was_long_on_its_way_does_not_replace_a_prompt_one() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.pass_(5)
    machines.back = 1.0
    machines.clock.measure()
    assert machines.error < 0.01


def test_prompt_answer_replaces_one_that_was_long_on_its_way() -> None:
    machines = Machines(back=1.0)
    machines.clock.measure()
    assert machines.error > 0.4
    machines.back = 0.001
    machines.clock.measure()
    assert machines.error < 0.01


def test_clock_that_was_set_is_followed_even_if_its_answer_is_slow() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.distant -= 30
    machines.back = 1.0
    machines.clock.measure()
    assert machines.error < 0.6


def test_old_reading_gives_way_to_one_that_is_a_little_less_exact() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.distant += 0.002  # a minute's drift, within what the answers allow
    machines.pass_(60)
    machines.there = machines.back = 0.004
    machines.clock.measure()
    assert machines.error < 1e-6


def test_reading_is_taken_again_when_it_is_old() -> None:
    machines = Machines()
    machines.clock.offset()
    machines.distant -= 30
    machines.pass_(59)
    assert machines.error == pytest.approx(30, abs=0.01)
    machines.pass_(2)
    assert machines.error < 0.01
    assert machines.asked == 2


def test_what_is_known_is_good_while_the_other_machine_is_away() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.is_away = True
    machines.pass_(61)
    for _ in range(3):
        assert machines.error < 1e-6
    assert machines.asked == 2  # not again for a while


def test_without_a_reading_an_error_is_raised() -> None:
    machines = Machines(is_away=True)
    assert machines.clock.known_offset() is None
    assert machines.clock.skew() is None
    with pytest.raises(ConnectionError):
        machines.clock.offset()


def test_nobody_waits_for_a_reading_that_hangs() -> None:
    machines = Machines()
    machines.clock.measure()
    machines.pass_(100)
    answer, is_asked, ask = threading.Event(), threading.Event(), machines.ask

    def hang() -> float:
        is_asked.set()
        answer.wait(10)
        return ask()

    machines.ask = hang  # type: ignore[method-assign]
    first = threading.Thread(target=machines.clock.offset)
    first.start()
    try:
        assert is_asked.wait(10)
        assert machines.error < 1e-6
    finally:
        answer.set()
        first.join()
    assert machines.asked == 2


def test_uptime_is_no_wall_clock() -> None:
    before = clocks.uptime()
    with time_machine.travel(0):
        assert 0 <= clocks.uptime() - before < 60
