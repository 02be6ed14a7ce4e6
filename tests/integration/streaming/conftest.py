"""Fixtures of the streaming tests."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from streaming import leases


@pytest.fixture
def no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process notice nothing by itself."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 3600.0)


@pytest.fixture
def thirty_days(settings: Settings) -> None:
    """Keep events for thirty days."""
    settings.DWP_EVENT_RETENTION = 30
