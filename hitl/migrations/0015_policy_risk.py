from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0014_renewed_deployment"),
    ]

    operations = [
        migrations.AddField(
            model_name="policy",
            name="risk",
            field=models.CharField(
                blank=True,
                choices=[
                    ("low", "low risk"),
                    ("medium", "medium risk"),
                    ("high", "high risk"),
                    ("critical", "critical risk"),
                ],
                db_default="",
                default="",
                max_length=16,
                verbose_name="risk",
            ),
        ),
    ]
