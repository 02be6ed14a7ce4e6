from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GatewayConfig(AppConfig):
    name = "dwp_project.gateway"
    verbose_name = _("people and tenants")
