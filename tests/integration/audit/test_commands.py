"""What the management commands print and how they exit."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from dwp_project.gateway import tokens
from hitl import services
from hitl.audit import triggers
from tests import factories
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db


def output_of(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


# --- verify_audit -------------------------------------------------------------------------


def test_verify_audit_prints_every_chain() -> None:
    request = factories.opened()
    services.approve(request.request_id, factories.actor())
    factories.opened(by=OUTSIDER)

    lines = output_of("verify_audit").splitlines()

    assert lines[0].startswith("tenant1: 2 records hold, head ")
    assert lines[2].startswith("  tables of tenant1 and audit: agree (outbox 1, request 1")
    assert lines[3].startswith("tenant2: 1 records hold, head ")
    assert lines[-1] == "Every chain holds: 3 records."
    assert lines[1] == lines[4] != ""  # no checkpoint vouches for them yet


def test_verify_audit_of_nothing_holds() -> None:
    assert output_of("verify_audit") == "Every chain holds: 0 records.\n"


def test_verify_audit_fails_at_the_first_break() -> None:
    for _ in range(3):
        factories.opened()
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE hitl_auditrecord SET actor = 'x' WHERE sequence >= 2")
    triggers.install(connection)

    with pytest.raises(CommandError, match="Chain of tenant1 breaks at record 2") as caught:
        call_command("verify_audit")
    assert caught.value.returncode == 1


def test_verify_audit_looks_at_one_tenant_only() -> None:
    factories.opened()
    factories.opened(by=OUTSIDER)
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE hitl_auditrecord SET actor = 'x' WHERE tenant_id = 'tenant2'")
    triggers.install(connection)

    assert "tenant1: 1 records hold" in output_of("verify_audit", "--tenant", "tenant1")
    with pytest.raises(CommandError, match="tenant2"):
        call_command("verify_audit", "--tenant", "tenant2")


# --- issue_token --------------------------------------------------------------------------


def test_issue_token_prints_a_token_and_nothing_else() -> None:
    printed = output_of("issue_token", "--user", "user123", "--tenant", "tenant1")

    assert printed.count("\n") == 1
    assert printed.endswith("\n")
    claims = tokens.verify(printed.strip().encode())
    assert (claims.user_id, claims.tenant_id, claims.role) == ("user123", "tenant1", None)
    assert claims.expires_at - claims.issued_at == 3600


def test_issue_token_takes_role_and_hours() -> None:
    words = ["issue_token", "--user", "김", "--tenant", "1", "--role", "approver", "--hours", "0.5"]

    claims = tokens.verify(output_of(*words).strip().encode())

    assert (claims.user_id, claims.tenant_id, claims.role) == ("김", "1", "approver")
    assert claims.expires_at - claims.issued_at == 1800


@pytest.mark.parametrize(
    "words",
    [
        "--user user123",
        "--tenant tenant1",
        "--user= --tenant tenant1",
        "--user user123 --tenant=",
        "--user user123 --tenant tenant1 --hours 0",
        "--user user123 --tenant tenant1 --hours -1",
        "--user user123 --tenant tenant1 --hours 24.1",
        "--user user123 --tenant tenant1 --hours nan",
        "--user user123 --tenant tenant1 --hours inf",
        "--user user123 --tenant tenant1 --hours soon",
    ],
)
def test_issue_token_refuses_what_no_token_may_say(words: str) -> None:
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("issue_token", *words.split(), stdout=out)

    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "odd", [" ", "a\n", "a\x00", "x" * 256, " padded"], ids=lambda odd: repr(odd[:9])
)
@pytest.mark.parametrize("option", ["--user", "--tenant", "--role"])
def test_issue_token_refuses_text_that_no_claim_may_be(option: str, odd: str) -> None:
    words = {"--user": "user123", "--tenant": "tenant1", option: odd}

    with pytest.raises(CommandError):
        call_command("issue_token", *(part for pair in words.items() for part in pair))


# --- the rest -----------------------------------------------------------------------------


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


def test_system_checks_have_no_complaint() -> None:
    call_command("check", "--database", "default", "--fail-level", "WARNING", stderr=StringIO())
