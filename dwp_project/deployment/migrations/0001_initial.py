import secrets
from typing import Any

from django.db import migrations, models
from django.utils import timezone


def give_id(apps: Any, schema_editor: Any) -> None:
    deployments = apps.get_model("deployment", "Deployment").objects
    deployments.using(schema_editor.connection.alias).create(
        pk=1, identifier=secrets.token_hex(8), created_at=timezone.now()
    )


class Migration(migrations.Migration):
    initial = True

    dependencies: list[tuple[str, str]] = []

    operations = [
        migrations.CreateModel(
            name="Deployment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("identifier", models.CharField(max_length=32, verbose_name="deployment id")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
            ],
            options={"verbose_name": "deployment", "verbose_name_plural": "deployments"},
        ),
        migrations.RunPython(give_id, migrations.RunPython.noop),
    ]
