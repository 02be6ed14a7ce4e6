"""Other deployments on one database of Redis are noticed, copies of one's own database too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection

from dwp_project.deployment import identity
from dwp_project.deployment.models import Deployment
from hitl.delivery import deployments, relay
from hitl.delivery.deployments import Beats
from tests.conftest import DEPLOYMENT
from tests.integration.calls import Api
from tests.services import services

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "dwp:deployments"
READY = (200, {"status": "ready"})
Beater = Callable[[], None]


@pytest.fixture(autouse=True)
def _stored(redis_client: redis.Redis) -> None:
    """Have the database be this process's deployment's."""
    Deployment.objects.update_or_create(
        pk=1, defaults={"identifier": DEPLOYMENT, "created_at": "2026-01-01T00:00:00Z"}
    )


@pytest.fixture
def beat(monkeypatch: pytest.MonkeyPatch) -> Beater:
    """Return a beat of this process, whose time has come."""

    def beat() -> None:
        deployments._own._next_at = 0.0
        deployments.beat()

    return beat


@pytest.fixture
def other_beats(redis_client: redis.Redis) -> Callable[..., None]:
    """Return a beat of another process, some seconds ago."""

    def beats(member: str = "another:1234", *, ago: float = 0.0) -> None:
        seconds, microseconds = redis_client.time()
        redis_client.zadd(KEY, {member: seconds + microseconds / 1e6 - ago})

    return beats


def ready(api: Api) -> tuple[int, Any]:
    answer = api.get("/ready")
    return answer.status, answer.body


def late(api: Api) -> list[str]:
    status, body = ready(api)
    assert (status, body["status"]) == (200, "degraded"), body
    assert body["reason"].endswith(".")
    return list(body["late"])


def test_relay_beats_for_its_deployment(redis_client: redis.Redis, api: Api) -> None:
    relay.send_due()

    beats: Any = redis_client.zrange(KEY, 0, -1, withscores=True)
    [(member, at)] = beats
    assert member == f"{DEPLOYMENT}:{deployments.instance_of_database()}"
    assert abs(at - redis_client.time()[0]) < 5
    assert 0 < redis_client.ttl(KEY) <= 60
    assert ready(api) == READY


def test_process_beats_every_five_seconds_and_not_at_each_look(redis_client: redis.Redis) -> None:
    relay.send_due()
    redis_client.delete(KEY)

    relay.send_due()

    assert not redis_client.exists(KEY)
    assert deployments._BEAT_SECONDS == 5


def test_another_deployment_is_noticed_and_forgotten_when_it_has_gone(
    api: Api, beat: Beater, other_beats: Callable[..., None]
) -> None:
    for _ in range(2):
        other_beats()
        beat()
    assert ready(api) == READY  # it may have beaten for the last time
    other_beats()
    beat()
    assert late(api) == ["redis shared"]
    assert "renew_deployment" not in api.get("/ready").body["reason"]

    other_beats(ago=16)
    beat()

    assert ready(api) == READY


def test_another_deployment_is_logged_once_per_change(
    beat: Beater, other_beats: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(6):
        other_beats()
        beat()
    shared = [line for line in caplog.messages if "redis_is_shared" in line]
    assert len(shared) == 1
    assert "another:1234" in shared[0]
    assert "database number" in shared[0]

    other_beats("third:5678")
    for _ in range(3):
        other_beats()
        other_beats("third:5678")
        beat()

    assert len([line for line in caplog.messages if "redis_is_shared" in line]) == 2


def test_copy_of_the_own_database_is_noticed(
    api: Api, beat: Beater, other_beats: Callable[..., None]
) -> None:
    for _ in range(3):
        other_beats(f"{DEPLOYMENT}:1234")
        beat()

    assert late(api) == ["redis shared"]
    assert "renew_deployment" in api.get("/ready").body["reason"]


@pytest.mark.skipif(services.database != "sqlite", reason="copies a file")
def test_copied_file_is_another_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = deployments.instance_of_database()
    assert deployments.instance_of_database() == own
    copy = tmp_path / "copy.sqlite3"
    shutil.copyfile(connection.settings_dict["NAME"], copy)
    monkeypatch.setitem(connection.settings_dict, "NAME", str(copy))

    assert deployments.instance_of_database() != own


def beside(monkeypatch: pytest.MonkeyPatch, *, options: str = "", **settings: Any) -> Any:
    """Have the instance be asked over another connection, which is returned to be closed."""
    other: Any = connection.copy()
    kept = {k: v for k, v in other.settings_dict["OPTIONS"].items() if k != "pool"}
    if options:
        kept["options"] = options
    other.settings_dict = {**other.settings_dict, **settings, "OPTIONS": kept}
    monkeypatch.setattr(deployments, "connection", other)
    return other


@pytest.mark.skipif(services.database != "postgres", reason="asks PostgreSQL")
def test_database_beside_it_in_postgresql_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    own = deployments.instance_of_database()
    assert deployments.instance_of_database() == own
    other = beside(monkeypatch, NAME="postgres")

    assert deployments.instance_of_database() != own

    other.close()


@pytest.mark.skipif(services.database != "postgres", reason="asks PostgreSQL")
def test_schema_beside_it_in_one_database_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    own = deployments.instance_of_database()
    other = beside(monkeypatch, options="-csearch_path=beside")
    with other.cursor() as cursor:
        cursor.execute("CREATE SCHEMA beside")
    try:
        assert deployments.instance_of_database() != own
    finally:
        with other.cursor() as cursor:
            cursor.execute("DROP SCHEMA beside")
        other.close()


def test_restart_of_postgresql_is_no_other_deployment(
    api: Api, beat: Beater, other_beats: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    beat()
    before = f"{DEPLOYMENT}:{deployments.instance_of_database()}"
    monkeypatch.setattr(deployments, "instance_of_database", lambda: "restarted")
    beat()
    # Another process had asked just before the restart, and beats after it.
    other_beats(before)

    for _ in range(4):
        beat()
        assert ready(api) == READY


def test_new_id_of_the_database_asks_for_a_restart(
    api: Api, beat: Beater, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    beat()
    Deployment.objects.update(identifier="renewed")
    for _ in range(3):
        beat()

    assert late(api) == ["deployment id"]
    assert len([line for line in caplog.messages if "deployment_renewed" in line]) == 1
    # It goes on under its old id until then.
    members: Any = redis_client.zrange(KEY, 0, -1)
    assert [name.split(":")[0] for name in members] == [DEPLOYMENT]


def test_process_that_still_has_the_old_id_is_no_other_deployment(
    api: Api, beat: Beater, other_beats: Callable[..., None]
) -> None:
    for _ in range(4):
        other_beats(f"old:{deployments.instance_of_database()}")
        beat()

    assert ready(api) == READY


def test_odd_key_stops_no_relay(
    redis_client: redis.Redis, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.set(KEY, "of somebody else")

    assert relay.send_due() > 0

    assert ready(api) == READY
    assert [line for line in caplog.messages if "deployments_not_compared" in line]


def test_two_deployments_notice_each_other(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Beats(), Beats()
    for _ in range(4):
        ours._next_at = theirs._next_at = 0.0
        ours.beat()
        with monkeypatch.context() as patch:
            patch.setattr(identity, "_current", "another")
            patch.setattr(deployments, "instance_of_database", lambda: "another")
            theirs.beat()

    assert ours.shared() is not None
    assert theirs.shared() is not None
