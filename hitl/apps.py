from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class HitlConfig(AppConfig):
    name = "hitl"
    default = True
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


class DeskConfig(admin_apps.AdminConfig):
    """Django's admin, with our site."""

    default_site = "hitl.desk.site.DeskSite"
    default = False
