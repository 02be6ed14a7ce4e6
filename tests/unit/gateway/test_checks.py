"""System checks of the edge: what stops a start, and how it says so."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from dwp_project.gateway.checks import redis_url_is_usable


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://127.0.0.1",
        "rediss://:secret@127.0.0.1:6380/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_usable_redis_url_passes(url: str, settings: Settings) -> None:
    settings.REDIS_URL = url
    assert redis_url_is_usable() == []


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "http://127.0.0.1",
        "redis://127.0.0.1/abc",
        "redis://127.0.0.1:port",
        "rediss://127.0.0.1?ssl_cert_reqs=foo",
        "redis://127.0.0.1?socket_timeout=soon",
    ],
)
def test_unusable_redis_url_is_an_error_that_shows_a_usable_one(
    url: str, settings: Settings
) -> None:
    settings.REDIS_URL = url
    [complaint] = redis_url_is_usable()
    assert complaint.id == "gateway.E002"
    assert "redis://127.0.0.1:6379/0" in str(complaint.hint)
