"""Who belongs to which tenant, and in which role."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.roles import DECIDERS, Role
from dwp_project.gateway.tokens import is_identifier


def validate_tenant_id(value: str) -> None:
    """Refuse a tenant id that no token could carry."""
    if not is_identifier(value):
        raise ValidationError(_("A tenant id is printable text without spaces around it."))


class Membership(models.Model):
    """A user's role in one tenant. Tenants are opaque strings and have no table."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    tenant_id = models.CharField(_("tenant"), max_length=255, validators=[validate_tenant_id])
    role = models.CharField(_("role"), max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "tenant_id"], name="membership_once_per_tenant")
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.tenant_id} · {self.role}"


def role_in(username: str, tenant_id: str) -> str | None:
    """Return the role of the active user in the tenant, or None without a membership."""
    return (
        Membership.objects.filter(
            user__username=username, user__is_active=True, tenant_id=tenant_id
        )
        .values_list("role", flat=True)
        .first()
    )


def tenants_of(username: str, *, deciding: bool = False) -> list[str]:
    """Return the tenants an active user belongs to; with `deciding`, where they may decide."""
    found = Membership.objects.filter(user__username=username, user__is_active=True)
    if deciding:
        found = found.filter(role__in=DECIDERS)
    return list(found.values_list("tenant_id", flat=True))
