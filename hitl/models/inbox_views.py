"""Inbox views: filters that an operator keeps under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

# Chosen: a name is read in a row of names; a query holds every part of a filter, and each part may
# be percent-encoded.
MAX_VIEW_NAME_LENGTH = 60
MAX_VIEW_QUERY_LENGTH = 4000


class InboxView(models.Model):
    """A filter of the inbox that an operator keeps under a name, as the query of its URL."""

    # Goes with the account: the next one of the same name may be another person's.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="inbox_views",
        # The constraint has an index that begins with it.
        db_index=False,
    )
    name = models.CharField(_("name"), max_length=MAX_VIEW_NAME_LENGTH)
    query = models.CharField(_("filter"), max_length=MAX_VIEW_QUERY_LENGTH)

    class Meta:
        verbose_name = _("inbox view")
        verbose_name_plural = _("inbox views")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="inbox_view_name_once")
        ]

    def __str__(self) -> str:
        return self.name
