"""The row that says which deployment this database belongs to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Deployment(models.Model):
    """This deployment: one row, whose id is in every name that Redis shares with others."""

    identifier = models.CharField(_("deployment id"), max_length=32)
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return self.identifier
