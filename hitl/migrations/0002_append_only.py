"""Make the audit table append-only. Any later migration that touches it does this again."""

from typing import Any

from django.db import migrations

from hitl import append_only


def install(apps: Any, schema_editor: Any) -> None:
    append_only.install(schema_editor.connection)


def remove(apps: Any, schema_editor: Any) -> None:
    append_only.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("hitl", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
