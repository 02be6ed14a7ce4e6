"""System checks of the audit store."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from hitl import append_only


@register(Tags.database)
def audit_is_append_only(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Report triggers that are missing from the audit table (run by `migrate` and `serve`)."""
    complaints: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if append_only.TABLE not in connection.introspection.table_names():
            continue
        if missing := append_only.missing(connection):
            complaints.append(
                Error(
                    f"The audit table of {alias!r} is not append-only: "
                    f"no trigger {', '.join(missing)}.",
                    hint="Somebody removed it, or a migration rebuilt the table. Install it "
                    "again with hitl.append_only.install, and find out since when it is gone.",
                    id="hitl.E001",
                )
            )
    return complaints
