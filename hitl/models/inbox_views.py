"""Inbox views: filters that an operator keeps under a name."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

# Chosen: a name is read in a row of names; a query holds every part of a filter, and each part may
# be percent-encoded.
MAX_VIEW_NAME_LENGTH = 60
MAX_VIEW_QUERY_LENGTH = 4000


class InboxView(models.Model):
    """A filter of the inbox that an operator keeps under a name, as the query of its URL."""

    username = models.CharField(_("user"), max_length=150)
    name = models.CharField(_("name"), max_length=MAX_VIEW_NAME_LENGTH)
    query = models.CharField(_("filter"), max_length=MAX_VIEW_QUERY_LENGTH)

    class Meta:
        verbose_name = _("inbox view")
        verbose_name_plural = _("inbox views")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["username", "name"], name="inbox_view_name_once")
        ]

    def __str__(self) -> str:
        return self.name
