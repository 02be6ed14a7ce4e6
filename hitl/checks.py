"""System checks of the audit: its triggers and its keys."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from hitl.audit import signing, triggers


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
