from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HitlConfig(AppConfig):
    name = "hitl"
    verbose_name = _("approvals")

    def ready(self) -> None:
        from hitl import checks  # noqa: F401 - registers the system checks
        from hitl.audit import accounts
        from hitl.background import skew
        from hitl.delivery import deployments, readiness
        from hitl.desk import live

        accounts.connect()
        live.connect()
        readiness.connect()
        deployments.connect()
        skew.connect()
