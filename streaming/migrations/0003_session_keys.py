from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("streaming", "0002_leases"),
    ]

    # A column without default and a partial index: no row is written on either database.
    operations = [
        migrations.AddField(
            model_name="session",
            name="key",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(
                condition=models.Q(("key__isnull", False)),
                fields=("key",),
                name="session_key_once",
            ),
        ),
    ]
