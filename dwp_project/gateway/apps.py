from django.apps import AppConfig
from django.urls import register_converter
from django.utils.translation import gettext_lazy as _


class GatewayConfig(AppConfig):
    name = "dwp_project.gateway"
    verbose_name = _("people and tenants")

    def ready(self) -> None:
        # Registers the receiver that begins sign-in sessions.
        from dwp_project.gateway import sign_in_sessions  # noqa: F401
        from dwp_project.gateway.paths import SegmentConverter

        # Before any module of routes is imported.
        register_converter(SegmentConverter, "segment")
