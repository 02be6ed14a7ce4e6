"""An installation of the last release (0.1.0) is migrated with its data, and verifies.

`last_release.json` is what that version itself wrote: its rows, and its checkpoint files.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management.color import no_style
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from pytest_django import Settings

from hitl import services
from hitl.audit import baseline_state, compare, triggers
from hitl.audit.hashing import hash_of
from hitl.background import comparison
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from tests import factories
from tests.integration import redis_agents
from tests.integration.audit.tamperings import run
from tests.integration.audit.test_tamperings import KEY, verified

pytestmark = pytest.mark.django_db(transaction=True)

RELEASE = Path(__file__).with_name("last_release.json")
# The last migration of that version; of the other apps there are no newer ones.
MIGRATED = [("hitl", "0007_indexes_for_millions")]


@pytest.fixture
def old_apps(tmp_path: Path, settings: Settings) -> Any:
    """Fill the database of the last release and migrate it; returns the models as they were."""
    release = json.loads(RELEASE.read_text())
    settings.AUDIT_SIGNING_KEY = KEY
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").mkdir(mode=0o700)
    for name, text in release["files"].items():
        (tmp_path / "checkpoints" / name).write_text(text)
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    before = [*MIGRATED, *(node for node in newest if node[0] != "hitl")]
    executor.migrate(MIGRATED)
    try:
        # That version's triggers; to rebuild a table drops them on SQLite.
        triggers.install(connection)
        old = MigrationExecutor(connection).loader.project_state(before).apps
        _load(old, release["rows"])
    finally:
        MigrationExecutor(connection).migrate(newest)
    return old


def _load(old: Any, rows: list[dict[str, Any]]) -> None:
    models: dict[str, Any] = {}
    with transaction.atomic():
        for row in rows:
            model = models.setdefault(row["model"], old.get_model(row["model"]))
            columns = row["row"]
            if columns.get("status") == "pending" and columns["escalated_at"] is None:
                # As it is on the day of the update.
                columns["expires_at"] = timezone.now() + timedelta(hours=1)
            model(**columns).save(force_insert=True)
        with connection.cursor() as cursor:
            for sql in connection.ops.sequence_reset_sql(no_style(), list(models.values())):
                cursor.execute(sql)


def test_everything_verifies_and_no_record_can_be_changed(old_apps: Any) -> None:
    code, names, text = verified()

    assert (code, names) == (0, set()), text
    assert (triggers.missing(connection), triggers.changed(connection)) == ([], [])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run("UPDATE hitl_auditrecord SET actor = 'mallory'")


def test_pending_requests_are_decided_and_ended_ones_read(
    old_apps: Any, redis_client: redis.Redis
) -> None:
    decided = services.approve("pending", factories.actor())
    ended = [services.read(name, "tenant1") for name in ("approved", "rejected", "expired")]

    assert decided.status == "approved"
    assert [request.status for request in ended] == ["approved", "rejected", "expired"]
    assert verified()[:2] == (0, set())


def test_longest_ids_and_actions_of_agents_are_adopted(
    old_apps: Any, redis_client: redis.Redis
) -> None:
    session_id, request_id, action = "s" * 512, "r" * 512, "x" * 512
    redis_agents.asks(redis_client, session_id, request_id, actionType=action)

    assert services.approve(request_id, factories.actor()).status == "approved"

    entry = AuditRecord.objects.get(event="request:approved", request_id=request_id)
    assert (entry.session_id, entry.action_type) == (session_id, action)
    assert (triggers.missing(connection), triggers.changed(connection)) == ([], [])
    assert verified()[:2] == (0, set())


def test_daily_comparison_makes_comparable_what_stands(old_apps: Any) -> None:
    before = compare.compare_tenant("tenant1").totals.not_comparable

    for _step in comparison.steps():
        pass

    after = compare.compare_tenant("tenant1").totals.not_comparable
    assert baseline_state.is_complete("tenant1")
    assert 0 < sum(after.values()) < sum(before.values())
    assert verified()[:2] == (0, set())


def test_process_of_that_version_goes_on_writing_during_the_update(
    old_apps: Any, redis_client: redis.Redis
) -> None:
    chain = AuditChain.objects.get(tenant_id="tenant1")
    request = ApprovalRequest.objects.get(request_id="pending")
    now = timezone.now()
    entry = AuditRecord(
        tenant_id="tenant1",
        sequence=chain.last_sequence + 1,
        event="request:approved",
        request_id=request.request_id,
        session_id=request.session_id,
        context_digest=request.context_digest,
        actor="approver1",
        actor_kind="user",
        channel="rest",
        at=now,
        form=2,
        previous_hash=chain.last_hash,
    )
    columns = {field.attname: getattr(entry, field.attname) for field in entry._meta.fields}
    old_record = old_apps.get_model("hitl.AuditRecord")
    known = {field.attname for field in old_record._meta.fields} - {"id"}
    values = {name: value for name, value in columns.items() if name in known}

    with transaction.atomic():
        old_record.objects.create(**values | {"hash": hash_of(entry)})
        AuditChain.objects.filter(pk=chain.pk).update(
            last_sequence=entry.sequence, last_hash=hash_of(entry)
        )
        ApprovalRequest.objects.filter(pk=request.pk).update(
            status="approved", decided_at=now, decided_by="approver1", decided_channel="rest"
        )
        old_apps.get_model("hitl.OutboxEntry").objects.create(
            request_id=request.pk,
            signal=(
                '{"type":"approval","requestId":"pending","status":"approved",'
                f'"timestamp":{int(now.timestamp())}}}'
            ),
            created_at=now,
            due_at=now,
        )

    assert services.read("pending", "tenant1").status == "approved"
    assert verified()[:2] == (0, set())
