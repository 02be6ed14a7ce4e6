"""Defaults that the contract names (docs/reference/wire.md)."""

from __future__ import annotations

from pytest_django import Settings

from dwp_project import wakeup
from hitl.delivery import keys as redis_keys
from streaming import leases, recovery


def test_time_limits_are_those_of_the_contract(settings: Settings) -> None:
    assert settings.HITL_DEFAULT_TIMEOUT_SECONDS == 300
    assert settings.MAX_BODY_BYTES == 256 * 1024
    assert settings.JWT_MAX_LIFETIME == 24 * 3600
    assert settings.SSE_HEARTBEAT_SECONDS <= 15
    assert settings.DWP_EVENT_RETENTION == 30
    assert (redis_keys.REQUEST_TTL, redis_keys.SESSION_TTL, redis_keys.SIGNAL_TTL) == (
        1800,
        3600,
        300,
    )


def test_what_is_awaited_is_read_every_second() -> None:
    assert wakeup.READ_SECONDS <= 1


def test_session_of_a_dead_process_is_found_within_fifteen_seconds() -> None:
    assert leases.TTL_SECONDS + recovery.SCAN_SECONDS < 15
    # Two renewals in a row may fail.
    assert leases.RENEW_SECONDS * 3 < leases.TTL_SECONDS


def test_origins_of_the_front_end_are_allowed_in_development(settings: Settings) -> None:
    assert settings.CORS_ALLOWED_ORIGINS == [
        "http://localhost:4200",
        "http://localhost:3000",
        "http://localhost:3039",
    ]


def test_nothing_of_a_request_is_shown_when_it_fails(settings: Settings) -> None:
    assert settings.DEBUG is False


def test_redis_is_named_once(settings: Settings) -> None:
    [host] = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"]
    assert host["address"] == settings.REDIS_URL
