"""A subscriber of one session, and a signal that is to be sent to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from hitl.models import OutboxEntry
from tests.integration.delivery.sending import SESSION, decided_and_died
from tests.integration.ears import Ear


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


@pytest.fixture
def unsent(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> OutboxEntry:
    """Return the entry of a decision whose process died between commit and publication."""
    return decided_and_died(monkeypatch)
