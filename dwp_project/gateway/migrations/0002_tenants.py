from django.db import migrations, models

import dwp_project.gateway.models


def fill(apps, schema_editor):
    """Make a tenant of each that has members; others are offered for adoption on the desk."""
    tenants = apps.get_model("gateway", "Tenant").objects.using(schema_editor.connection.alias)
    members = apps.get_model("gateway", "Membership").objects.using(schema_editor.connection.alias)
    for tenant_id in members.order_by("tenant_id").values_list("tenant_id", flat=True).distinct():
        tenants.get_or_create(tenant_id=tenant_id)


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tenant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tenant_id",
                    models.CharField(
                        max_length=255,
                        unique=True,
                        validators=[dwp_project.gateway.models.validate_tenant_id],
                        verbose_name="tenant",
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        max_length=255,
                        validators=[dwp_project.gateway.models.validate_tenant_name],
                        verbose_name="name",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="made at")),
            ],
            options={
                "verbose_name": "tenant",
                "verbose_name_plural": "tenants",
                "ordering": ["tenant_id"],
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
