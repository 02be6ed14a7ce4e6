from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0018_tenant_events"),
    ]

    operations = [
        migrations.CreateModel(
            name="RelayLease",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("ends_at", models.DateTimeField()),
            ],
        ),
        # NULL is what processes of the version before leave in it: whoever comes first sends it.
        migrations.AddField(
            model_name="outboxentry",
            name="owner",
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="outboxentry",
            index=models.Index(
                condition=models.Q(("outcome", "pending")),
                fields=["owner", "due_at"],
                name="outbox_owned",
            ),
        ),
    ]
