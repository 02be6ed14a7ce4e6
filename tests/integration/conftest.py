"""What integration tests share: a REST client, and a Redis that is away or frozen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.contenttypes.models import ContentType
from django.db.models.signals import post_migrate
from pytest_django import Settings

import dwp_project.asgi  # noqa: F401
from dwp_project import logs
from dwp_project.gateway import readiness
from dwp_project.wakeup import client, hub
from hitl.approvals import foreign
from hitl.audit import record_signatures
from hitl.delivery import deployments, first_heard, held
from hitl.delivery.leases import lease
from streaming.agents import registry
from tests.integration import outages
from tests.integration.calls import Api
from tests.services import services

# Who knows a password is tested with hashes; how long one takes is not.
configured.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A traceback drawn for a console takes a third of a second. After the import of the application,
# which configures the logs as well.
_LOGS = {"level": "WARNING", "format": "json"}
logs.configure(_LOGS)
# Every flush would make content types and permissions anew, which no test asks for.
post_migrate.disconnect(create_contenttypes)
post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL leave out what asks no database: it has run beside SQLite."""
    if services.database != "postgres":
        return
    asking = [item for item in items if _asks_a_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in asking])
    items[:] = asking


def _asks_a_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    uses = {"db", "transactional_db", "django_db_setup"}
    return item.get_closest_marker("django_db") is not None or not uses.isdisjoint(fixtures)


@pytest.fixture(autouse=True)
def _own_checkpoints(settings: Settings, tmp_path: Path) -> None:
    """Have a test's checkpoints vouch for its own chains alone."""
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")


@pytest.fixture(autouse=True)
def _first_signed_record_of_its_own() -> None:
    """Search for the first signed record anew: that of the test before has gone."""
    record_signatures._first_of_all.clear()


@pytest.fixture(autouse=True)
def _own_content_types() -> None:
    """Have the admin's log name content types of this test: the last one's went with it."""
    ContentType.objects.clear_cache()


@pytest.fixture
def logs_reset() -> Iterator[None]:
    """Have the next test log as before: a command that is run as from a shell configures the logs
    anew, for a stream that is closed after this test."""
    yield
    logs.configure(_LOGS)


@pytest.fixture
def api(redis_client: object) -> Api:
    """Return a client of the REST API, with no sessions of other tests in Redis."""
    return Api()


@pytest.fixture
def redis_away(settings: Settings) -> Iterator[None]:
    """Have nobody listen where Redis should be."""
    with outages.no_redis(settings):
        yield


@pytest.fixture
def redis_frozen(settings: Settings) -> Iterator[None]:
    """Have somebody accept where Redis should be, and never answer."""
    with outages.frozen_redis(settings):
        yield


@pytest.fixture
async def fresh_hub() -> AsyncIterator[None]:
    """Close the wake-up hub of the test's event loop when the test is over."""
    yield
    await hub().close()


@pytest.fixture
def agents_reset() -> Iterator[None]:
    """Let the next test configure other agents."""
    yield
    registry.agent.cache_clear()


@pytest.fixture(autouse=True)
def _no_kept_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `/ready` check anew: the answer of the test before is not this one's."""
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _own_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test notice by itself who else is on Redis, and leave nothing of it to the next."""
    monkeypatch.setattr(deployments, "_own", deployments.Beats())


@pytest.fixture(autouse=True)
def _own_foreign_decisions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a test write what it left to be audited later itself, and leave nothing to the next."""
    monkeypatch.setattr(foreign, "_DELAY_SECONDS", (3600.0, 3600.0))
    yield
    foreign.waiting.take()


@pytest.fixture(autouse=True)
def _own_first_heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a test write itself when agents first had a decision, and leave nothing to the next."""
    monkeypatch.setattr(first_heard, "_DELAY_SECONDS", 3600.0)
    monkeypatch.setattr(first_heard, "waiting", first_heard.FirstHeard())
    yield
    first_heard.waiting.take()


@pytest.fixture(autouse=True)
def _owns_no_entries() -> Iterator[None]:
    """Have a test begin as a process in which no relay has run yet."""
    yield
    held.entries.clear()
    lease.forget()


@pytest.fixture(autouse=True)
def _no_pause_after_failures() -> Iterator[None]:
    """Let the next test publish, even if this one's Redis failed a moment ago."""
    yield
    client._paused_until = 0.0
