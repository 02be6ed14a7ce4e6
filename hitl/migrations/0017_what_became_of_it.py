from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0014_renewed_deployment"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxentry",
            name="first_heard_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="first heard at"),
        ),
    ]
