from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeploymentConfig(AppConfig):
    name = "dwp_project.deployment"
    verbose_name = _("deployment")
