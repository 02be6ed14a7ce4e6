from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0010_refused_openings_and_locks"),
    ]

    operations = [
        migrations.AddField(
            model_name="approvalrequest",
            name="comment",
            field=models.TextField(blank=True, db_default="", default="", verbose_name="comment"),
        ),
    ]
