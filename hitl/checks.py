"""System checks of the audit, its triggers and its keys, and of policies that look alike."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, groupby
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from hitl.audit import signing, triggers
from hitl.audit.hashing import FIRST_SIGNED_FORM
from hitl.audit.record_signatures import trust_of
from hitl.audit.signing import Trust
from hitl.models import AuditRecord, Policy
from hitl.policies import patterns


@register(Tags.database)
def audit_is_append_only(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report triggers of the audit table that are missing or changed (run by `migrate` and
    `serve`)."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if triggers.TABLE not in connection.introspection.table_names():
            continue
        for wrong, names in (
            ("no trigger", triggers.missing(connection)),
            ("somebody changed its trigger", triggers.changed(connection)),
        ):
            if names:
                messages.append(
                    Error(
                        f"The audit table of {alias!r} is not append-only: "
                        f"{wrong} {', '.join(names)}.",
                        hint="Somebody did this, or a migration rebuilt the table. Install the "
                        "triggers again with hitl.audit.triggers.install, and find out since when.",
                        id="hitl.E001",
                    )
                )
    return messages


@register(Tags.database)
def audit_records_are_trusted(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn if the newest record is signed by a key that is not trusted here: nothing of what it
    says is decided or sent."""
    # A key that cannot be used is `hitl.E002`; before its migration the table has no signatures.
    with suppress(signing.KeyUnusable, DatabaseError):
        for alias in databases or []:
            signed = AuditRecord.objects.using(alias).filter(form__gte=FIRST_SIGNED_FORM)
            newest = signed.order_by("-pk").first()
            if newest is not None and trust_of(newest, signing.trusted_keys()) is Trust.UNKNOWN:
                return [
                    checks.Warning(
                        "The newest audit record is signed by a key that this process does not "
                        "trust: requests that it vouches for are neither decided nor sent.",
                        hint="Give all processes the same AUDIT_SIGNING_KEY_FILE, or put the "
                        "public half of a key that was replaced into AUDIT_TRUSTED_KEYS "
                        "(docs/how-to/audit.md).",
                        id="hitl.W003",
                    )
                ]
    return []


@register(Tags.database)
def policies_are_told_apart(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of current policies of one tenant whose patterns are the same once they are folded."""
    messages: list[CheckMessage] = []
    with suppress(DatabaseError):  # before its migration there is no table
        for alias in databases or []:
            policies = Policy.objects.using(alias).current().order_by("tenant_id", "pattern")
            rows = policies.values_list("tenant_id", "pattern")
            messages += [
                checks.Warning(
                    f"Two policies of tenant {tenant} are the same in different spellings: "
                    f"{one!a} and {other!a}.",
                    hint="Which of them applies may depend on how an agent writes its action. "
                    "Retire one of them (docs/explanation/policies.md).",
                    id="hitl.W004",
                )
                for tenant, of_tenant in groupby(rows, key=lambda row: row[0])
                for (_, one), (_, other) in combinations(of_tenant, 2)
                if patterns.are_alike(one, other)
            ]
    return messages


@register(Tags.security)
def audit_can_be_signed(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report keys of the audit that cannot be used, or that everybody may read."""
    try:
        signing.trusted_keys()
    except signing.KeyUnusable as exc:
        return [
            Error(
                str(exc),
                hint="docs/how-to/audit.md says how to make a key, and how to change it.",
                id="hitl.E002",
            )
        ]
    if signing.is_open_to_others():
        return [
            checks.Warning(
                "Everybody on this machine may read AUDIT_SIGNING_KEY_FILE, and so sign as "
                "this deployment.",
                hint="chmod 600 it.",
                id="hitl.W002",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def audit_key_is_named(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of a generated signing key: every machine would generate another one."""
    if not signing.is_generated():
        return []
    return [
        checks.Warning(
            "The audit is signed with a key that was generated under DATA_DIR.",
            hint="Name one with AUDIT_SIGNING_KEY_FILE, the same for all processes, and keep a "
            "copy of its public half elsewhere (manage.py audit_key).",
            id="hitl.W001",
        )
    ]
