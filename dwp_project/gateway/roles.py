"""The roles of the deployment, as `Membership` rows and tokens name them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    VIEWER = "viewer", _("viewer")
    APPROVER = "approver", _("approver")
    ADMIN = "admin", _("admin")


# The role of a user whose token names none and who has no membership.
USER = "user"
