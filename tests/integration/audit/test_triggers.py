"""Triggers refuse what would change the audit, on both databases."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, NotSupportedError, connection, transaction
from django.utils import timezone

from hitl.audit import record, triggers, verify_job
from hitl.models import AuditRecord
from hitl.states import AuditEvent
from tests import factories

pytestmark = pytest.mark.django_db

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL only")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite only")
TRIGGERS = {
    "sqlite": ["audit_no_delete", "audit_no_replace", "audit_no_update"],
    "postgresql": ["audit_no_change", "audit_no_truncate"],
}[connection.vendor]


@pytest.fixture(autouse=True)
def entry() -> AuditRecord:
    with transaction.atomic():
        return record.write(AuditEvent.SESSION_REFUSED, factories.actor(), timezone.now())


def run(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def refused() -> pytest.RaisesExc[DatabaseError]:
    return pytest.raises(DatabaseError, match="audit records are append-only")


COLUMNS = (
    "tenant_id, sequence, event, request_id, session_id, actor, actor_kind, channel, at, "
    "source_address, user_agent, context_digest, details, previous_hash, hash"
)
COPY = f"INSERT INTO hitl_auditrecord ({COLUMNS}) SELECT {COLUMNS} FROM hitl_auditrecord"  # noqa: S608


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hitl_auditrecord SET actor = 'x'",
        "UPDATE hitl_auditrecord SET hash = hash",
        "DELETE FROM hitl_auditrecord",
        "DELETE FROM hitl_auditrecord WHERE sequence = 1",
    ],
)
def test_statement_that_changes_a_record_is_refused(entry: AuditRecord, statement: str) -> None:
    with refused():
        run(statement)

    assert AuditRecord.objects.get().hash == entry.hash


def test_model_refuses_to_change_a_record(entry: AuditRecord) -> None:
    entry.actor = "somebody else"
    with refused(), transaction.atomic():
        entry.save()
    with refused(), transaction.atomic():
        entry.delete()
    with refused(), transaction.atomic():
        AuditRecord.objects.update(actor="x")
    with refused(), transaction.atomic():
        AuditRecord.objects.all().delete()

    assert AuditRecord.objects.get().actor == "approver1"


@on_postgresql
@pytest.mark.parametrize("how", ["", " CASCADE", " RESTART IDENTITY"])
@pytest.mark.parametrize("tables", ["hitl_auditrecord", "hitl_auditrecord, hitl_outboxentry"])
def test_truncate_is_refused(tables: str, how: str) -> None:
    # The outbox refers to the records, which alone refuses to empty their table by itself.
    is_alone = tables == "hitl_auditrecord" and how != " CASCADE"
    with pytest.raises(NotSupportedError) if is_alone else refused(), transaction.atomic():
        run(f"TRUNCATE {tables}{how}")

    assert AuditRecord.objects.count() == 1


@on_postgresql
def test_upsert_is_refused() -> None:
    with refused():
        run(f"{COPY} ON CONFLICT (tenant_id, sequence) DO UPDATE SET actor = 'x'")


@on_sqlite
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE INTO", "REPLACE INTO"])
@pytest.mark.parametrize("key", ["id, ", ""], ids=["by id", "by sequence"])
def test_replace_is_refused(entry: AuditRecord, verb: str, key: str) -> None:
    columns = f"{key}{COLUMNS}"
    changed = columns.replace("actor,", "'x',")

    with refused():
        run(f"{verb} hitl_auditrecord ({columns}) SELECT {changed} FROM hitl_auditrecord")  # noqa: S608

    assert AuditRecord.objects.get().actor == entry.actor


@on_sqlite
@pytest.mark.parametrize("how", ["OR REPLACE", "OR IGNORE", "OR FAIL"])
def test_update_by_another_word_is_refused(how: str) -> None:
    with refused():
        run(f"UPDATE {how} hitl_auditrecord SET actor = 'x'")  # noqa: S608


@on_sqlite
def test_upsert_is_refused_on_sqlite() -> None:
    with refused():
        run(f"{COPY} WHERE true ON CONFLICT (tenant_id, sequence) DO UPDATE SET actor = 'x'")


# --- the check that proves they exist -----------------------------------------------------


def complaints() -> list[str]:
    return [str(message.id) for message in run_checks(databases=["default"])]


def test_check_passes_while_every_trigger_exists() -> None:
    assert triggers.missing(connection) == []
    assert triggers.changed(connection) == []
    assert "hitl.E001" not in complaints()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_check_names_a_missing_trigger(trigger: str) -> None:
    on_table = " ON hitl_auditrecord" if connection.vendor == "postgresql" else ""
    run(f"DROP TRIGGER {trigger}{on_table}")

    assert triggers.missing(connection) == [trigger]
    [error] = [message for message in run_checks(databases=["default"]) if message.id]
    assert error.id == "hitl.E001"
    assert trigger in error.msg
    with pytest.raises(CommandError, match=trigger):
        call_command("verify_audit")


@on_postgresql
@pytest.mark.parametrize("mode", ["DISABLE", "ENABLE REPLICA"])
def test_check_finds_a_trigger_that_does_not_fire(mode: str) -> None:
    run(f"ALTER TABLE hitl_auditrecord {mode} TRIGGER audit_no_change")
    run("UPDATE hitl_auditrecord SET actor = 'x'")

    assert triggers.missing(connection) == ["audit_no_change"]


# A trigger of the right name that lets a change through, and its name.
HARMLESS = {
    "sqlite": [
        (
            "audit_no_update",
            "CREATE TRIGGER audit_no_update BEFORE UPDATE ON hitl_auditrecord BEGIN SELECT 1; END",
        ),
        (
            "audit_no_delete",
            "CREATE TRIGGER audit_no_delete BEFORE DELETE ON hitl_auditrecord WHEN 0 "
            "BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END",
        ),
        (
            "audit_no_replace",
            "CREATE TRIGGER audit_no_replace BEFORE UPDATE ON hitl_auditrecord "
            "BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END",
        ),
    ],
    "postgresql": [
        (
            "audit_no_change",
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON hitl_auditrecord "
            "FOR EACH ROW WHEN (false) EXECUTE FUNCTION audit_refuse()",
        ),
        (
            "audit_no_change",
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OF form ON hitl_auditrecord "
            "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
        ),
        (
            "audit_no_change",
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OF form OR DELETE ON hitl_auditrecord "
            "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
        ),
        (
            "audit_no_change",
            "CREATE TRIGGER audit_no_change AFTER UPDATE OR DELETE ON hitl_auditrecord "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
        ),
        (
            "audit_no_change",
            "CREATE FUNCTION allow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NEW; END $$; CREATE TRIGGER audit_no_change "
            "BEFORE UPDATE OR DELETE ON hitl_auditrecord FOR EACH ROW EXECUTE FUNCTION allow()",
        ),
        (
            "audit_no_truncate",
            "CREATE TRIGGER audit_no_truncate BEFORE UPDATE ON hitl_auditrecord "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
        ),
    ],
}[connection.vendor]


def names_every_changed(names: list[str]) -> None:
    assert triggers.changed(connection) == names
    assert triggers.missing(connection) == []
    [error] = [message for message in run_checks(databases=["default"]) if message.id]
    assert error.id == "hitl.E001"
    job, _is_new = verify_job.begin(factories.actor())
    verify_job.run(job)
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit")
    assert caught.value.returncode == 1
    assert job.result is not None
    assert (job.result["holds"], job.result["kind"]) == (False, "unprotected")
    for text in (error.msg, str(caught.value), job.result["why"]):
        assert ", ".join(names) in text


@pytest.mark.parametrize(("trigger", "statement"), HARMLESS)
def test_check_names_a_trigger_that_was_replaced(trigger: str, statement: str) -> None:
    on_table = " ON hitl_auditrecord" if connection.vendor == "postgresql" else ""
    run(f"DROP TRIGGER {trigger}{on_table}")
    run(statement)

    names_every_changed([trigger])
    triggers.install(connection)
    assert triggers.changed(connection) == []


@on_postgresql
@pytest.mark.parametrize(
    "body",
    [
        "LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'audit records are append-only'; "
        "RETURN NEW; END $$",
    ],
)
def test_check_names_the_triggers_whose_function_was_replaced(body: str) -> None:
    run(f"CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger {body}")
    run("UPDATE hitl_auditrecord SET user_agent = user_agent")

    names_every_changed(["audit_no_change", "audit_no_truncate"])


def test_install_again_mends_and_may_be_repeated() -> None:
    triggers.remove(connection)
    assert triggers.missing(connection) == TRIGGERS

    triggers.install(connection)
    triggers.install(connection)

    assert triggers.missing(connection) == []
    with refused():
        run("DELETE FROM hitl_auditrecord")
