from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HitlConfig(AppConfig):
    name = "hitl"
    verbose_name = _("approvals")

    def ready(self) -> None:
        from hitl import checks, hearing  # noqa: F401 - the first registers the system checks

        hearing.connect()
