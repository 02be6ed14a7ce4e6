from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("hitl", "0015_policy_risk")]

    operations = [
        migrations.CreateModel(
            name="InboxView",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("username", models.CharField(max_length=150, verbose_name="user")),
                ("name", models.CharField(max_length=60, verbose_name="name")),
                ("query", models.CharField(max_length=4000, verbose_name="filter")),
            ],
            options={
                "verbose_name": "inbox view",
                "verbose_name_plural": "inbox views",
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("username", "name"), name="inbox_view_name_once"
                    )
                ],
            },
        ),
    ]
