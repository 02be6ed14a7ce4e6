"""A host whose clock is far from the database's or from Redis's is noticed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog
import time_machine
from django.db import connection
from prometheus_client import REGISTRY

from hitl.background import skew
from hitl.delivery import redis_state
from tests.integration.calls import Api

pytestmark = pytest.mark.django_db

IS_SQLITE = connection.vendor == "sqlite"


@pytest.fixture(autouse=True)
def nothing_noticed() -> Iterator[None]:
    """Begin and end without a clock that is too far away."""
    skew._skewed.clear()
    yield
    skew._skewed.clear()


def metric(of: str) -> float | None:
    return REGISTRY.get_sample_value("dwp_clock_skew_seconds", {"of": of})


@pytest.mark.parametrize(
    ("seconds", "words"), [(20.0, "20.0 s ahead of"), (-600.0, "600.0 s behind")]
)
def test_ready_names_the_clocks_and_by_how_much(seconds: float, words: str) -> None:
    with time_machine.travel(timedelta(seconds=seconds)):
        fault = skew.look()

    database = "" if IS_SQLITE else f"{words} the database's and "
    assert fault is not None
    assert fault.name == "clock"
    assert fault.reason.startswith(f"This host's clock is {database}{words} Redis's: ")
    assert "NTP" in fault.reason


@pytest.mark.parametrize("seconds", [-1.9, 0, 1.9])
def test_less_than_two_seconds_are_nothing(seconds: float) -> None:
    with time_machine.travel(timedelta(seconds=seconds)):
        assert skew.look() is None
        with structlog.testing.capture_logs() as logs:
            skew.read()
    assert logs == []


def test_ready_is_degraded_and_not_down(api: Api) -> None:
    with time_machine.travel(timedelta(seconds=20)):
        answer = api.get("/ready")
    assert answer.status == 200
    assert answer.body["status"] == "degraded"
    assert answer.body["late"] == ["clock"]


def test_log_says_once_that_a_clock_is_wrong_and_that_it_is_right_again() -> None:
    with structlog.testing.capture_logs() as logs:
        with time_machine.travel(timedelta(seconds=20)):
            skew.read()
            skew.read()
        skew.read()
        skew.read()

    of = ["redis"] if IS_SQLITE else ["database", "redis"]
    warned = [log for log in logs if log["event"] == "clock_skewed"]
    assert [log["of"] for log in warned] == of
    assert {log["log_level"] for log in warned} == {"warning"}
    assert warned[-1]["why"] == "20.0 s ahead of Redis's"
    assert "NTP" in warned[-1]["hint"]
    assert [log["of"] for log in logs if log["event"] == "clock_skew_over"] == of


def test_metric_says_by_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_machine.travel(timedelta(seconds=-20)):
        for of in ("redis",) if IS_SQLITE else ("database", "redis"):
            assert metric(of) == pytest.approx(-20, abs=1)
    if IS_SQLITE:
        assert metric("database") is None
    monkeypatch.setattr(redis_state.distant_redis, "_reading", None)
    unknown = metric("redis")
    assert unknown is not None
    assert math.isnan(unknown)
