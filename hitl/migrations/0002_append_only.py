"""Make the audit table append-only. Any later migration that touches it does this again."""

from typing import Any

from django.db import migrations

from hitl.audit import triggers


def install(apps: Any, schema_editor: Any) -> None:
    triggers.install(schema_editor.connection)


def remove(apps: Any, schema_editor: Any) -> None:
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("hitl", "0001_initial")]
    operations = [migrations.RunPython(install, remove)]
