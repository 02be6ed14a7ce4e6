from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0016_inbox_views"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxentry",
            name="first_heard_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="first heard at"),
        ),
        # Earlier decisions on the same arguments: an index alone answers for their states.
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(
                fields=["tenant_id", "context_digest", "-id", "status"],
                name="request_of_arguments",
                condition=~models.Q(status="pending"),
            ),
        ),
    ]
