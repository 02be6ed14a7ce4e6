"""A Redis that is away is left alone for a moment, and stops nobody who may do without it."""

from __future__ import annotations

import pytest
import redis

from dwp_project import wakeup
from dwp_project.wakeup import redis_client, redis_may_be_away


def test_redis_that_is_away_is_logged_and_left_alone(
    redis_away: None, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_may_be_away("not_counted", topic="numbers") as call:
        redis_client().incr("count")

    assert call.has_failed
    assert call.error
    assert wakeup.is_paused()
    [logged] = [record.getMessage() for record in caplog.records]
    assert "not_counted" in logged
    assert "numbers" in logged
    assert call.error in logged


def test_redis_that_refuses_a_command_is_there(redis_client: redis.Redis) -> None:
    redis_client.set("count", "a")

    with redis_may_be_away("not_counted") as call:
        wakeup.redis_client().incr("count")

    assert "not an integer" in call.error
    assert not wakeup.is_paused()


def test_block_that_redis_answers_has_not_failed(redis_client: redis.Redis) -> None:
    with redis_may_be_away("not_counted") as call:
        wakeup.redis_client().incr("count")

    assert not call.has_failed
    assert redis_client.get("count") == "1"


def test_other_errors_pass_through(redis_client: redis.Redis) -> None:
    with pytest.raises(LookupError), redis_may_be_away("not_counted") as call:
        raise LookupError

    assert not call.has_failed
    assert not wakeup.is_paused()
