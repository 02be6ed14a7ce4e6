from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GatewayConfig(AppConfig):
    name = "dwp_project.gateway"
    verbose_name = _("people and tenants")

    def ready(self) -> None:
        from dwp_project.gateway import checks  # noqa: F401 - registers the system checks
