"""Make room for ids and actions as agents on Redis write them."""

from typing import Any

from django.db import migrations, models


class LengthenField(migrations.AlterField):
    """Changes a column's length where the database checks it.

    SQLite does not. There Django would rebuild the table, which drops the triggers that keep the
    audit append-only. PostgreSQL changes the catalogue alone and rewrites no row.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        self.database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0010_refused_openings_and_locks"),
    ]

    operations = [
        LengthenField(
            model_name="approvalrequest",
            name="request_id",
            field=models.CharField(max_length=512, unique=True, verbose_name="request id"),
        ),
        LengthenField(
            model_name="approvalrequest",
            name="session_id",
            field=models.CharField(max_length=512, verbose_name="session"),
        ),
        LengthenField(
            model_name="approvalrequest",
            name="action_type",
            field=models.CharField(max_length=512, verbose_name="action"),
        ),
        LengthenField(
            model_name="sessionowner",
            name="session_id",
            field=models.CharField(max_length=512, unique=True, verbose_name="session"),
        ),
        LengthenField(
            model_name="auditrecord",
            name="request_id",
            field=models.CharField(blank=True, max_length=512, verbose_name="request"),
        ),
        LengthenField(
            model_name="auditrecord",
            name="session_id",
            field=models.CharField(blank=True, max_length=512, verbose_name="session"),
        ),
        LengthenField(
            model_name="auditrecord",
            name="action_type",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=512, verbose_name="action"
            ),
        ),
    ]
