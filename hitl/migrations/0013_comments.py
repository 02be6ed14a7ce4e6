from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0012_withheld_signals"),
    ]

    operations = [
        migrations.AddField(
            model_name="approvalrequest",
            name="comment",
            field=models.TextField(blank=True, db_default="", default="", verbose_name="comment"),
        ),
    ]
