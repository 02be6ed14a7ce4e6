from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hitl", "0017_what_became_of_it"),
    ]

    # Choices are known to Django alone: no table is touched.
    operations = [
        migrations.AlterField(
            model_name="auditrecord",
            name="event",
            field=models.CharField(
                choices=[
                    ("request:opened", "request opened"),
                    ("request:approved", "request approved"),
                    ("request:rejected", "request rejected"),
                    ("request:expired", "request expired"),
                    ("request:cancelled", "request cancelled"),
                    ("request:adopted", "request adopted"),
                    ("request:contradicted", "request contradicted in Redis"),
                    ("session:refused", "use of another's session refused"),
                    ("request:refused", "opening under another's request id refused"),
                    ("request:voted", "approval given, more needed"),
                    ("request:escalated", "request escalated"),
                    ("decision:refused", "decision refused"),
                    ("policy:created", "policy created"),
                    ("policy:changed", "policy changed"),
                    ("policy:retired", "policy retired"),
                    ("reasons:changed", "rejection reasons changed"),
                    ("membership:added", "membership added"),
                    ("membership:changed", "membership changed"),
                    ("membership:removed", "membership removed"),
                    ("user:changed", "user account changed"),
                    ("user:signed_in", "signed in"),
                    ("user:signed_out", "signed out"),
                    ("user:sign_in_failed", "sign-in failed"),
                    ("user:sign_in_locked", "sign-ins locked"),
                    ("user:sign_in_unlocked", "sign-ins unlocked"),
                    ("audit:exported", "audit records exported"),
                    ("audit:verified", "audit chain verified"),
                    ("checkpoints:rewritten", "lost checkpoint file written again"),
                    ("audit:break_acknowledged", "break of the audit chain acknowledged"),
                    ("audit:baseline", "state of the tables written down"),
                    ("tenant:added", "tenant added"),
                    ("tenant:changed", "tenant changed"),
                    ("tenant:removed", "tenant removed"),
                    ("deployment:renewed", "restored or copied database put to use"),
                ],
                max_length=32,
                verbose_name="event",
            ),
        ),
    ]
