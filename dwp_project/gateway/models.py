"""The tenants that forms offer, and memberships: which user belongs to which, in which role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway import signals
from dwp_project.gateway.roles import Role
from dwp_project.gateway.tokens import is_identifier


def validate_tenant_id(value: str) -> None:
    """Refuse a tenant id that no token could carry."""
    if not is_identifier(value):
        raise ValidationError(_("A tenant id is printable text without spaces around it."))


def validate_tenant_name(value: str) -> None:
    """Refuse a name that could hide or reorder the text around it."""
    if not value.isprintable():
        raise ValidationError(_("A name is printable text."))


class Tenant(models.Model):
    """A tenant that somebody made on purpose, so that forms offer it.

    Tokens need no row: a tenant is whatever a valid token names (docs/reference/wire.md, 1).
    """

    tenant_id = models.CharField(
        _("tenant"), max_length=255, unique=True, validators=[validate_tenant_id]
    )
    name = models.CharField(
        _("name"), max_length=255, blank=True, validators=[validate_tenant_name]
    )
    created_at = models.DateTimeField(_("made at"), auto_now_add=True)

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")
        ordering = ["tenant_id"]

    def __str__(self) -> str:
        return f"{self.tenant_id} ({self.name})" if self.name else self.tenant_id

    def save(self, **kwargs: Any) -> None:
        """Save, and send Django's signal in the same transaction: a receiver may refuse."""
        with transaction.atomic(using=kwargs.get("using")):
            super().save(**kwargs)


def tenant_choices(tenants: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Return what a form offers, with the names: these tenants, or all that were made."""
    made = Tenant.objects.all()
    if tenants is not None:
        made = made.filter(tenant_id__in=tenants)
    names = {tenant.tenant_id: str(tenant) for tenant in made}
    return [(each, names.get(each, each)) for each in (names if tenants is None else tenants)]


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Changes rows one by one: each change sends its Django signal, and a receiver may refuse it.

    Django's own deletion sends a signal for each row; raw SQL sends none.
    """

    def update(self, **values: Any) -> int:
        with transaction.atomic(using=self.db):
            memberships = list(self.select_for_update())
            for membership in memberships:
                for name, value in values.items():
                    setattr(membership, name, value)
                membership.save(update_fields=list(values))
        return len(memberships)

    def bulk_create(
        self, objs: Iterable[Membership], *args: Any, **kwargs: Any
    ) -> list[Membership]:
        if args or kwargs:
            raise NotImplementedError("memberships are added one by one: save() each")
        memberships = list(objs)
        with transaction.atomic(using=self.db):
            for membership in memberships:
                membership.save(force_insert=True)
        return memberships

    def bulk_update(
        self, objs: Iterable[Membership], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        changed, names = list(objs), list(fields)
        with transaction.atomic(using=self.db):
            for membership in changed:
                membership.save(update_fields=names)
        return len(changed)


class Membership(models.Model):
    """A user's role in one tenant.

    `tenant_id` is an opaque string and no foreign key, as tokens have it. Forms take one of
    `Tenant`, so that a typo makes no tenant.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    tenant_id = models.CharField(_("tenant"), max_length=255, validators=[validate_tenant_id])
    role = models.CharField(_("role"), max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "tenant_id"], name="membership_once_per_tenant")
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.tenant_id} · {self.role}"

    def save(
        self,
        *,
        force_insert: bool | tuple[models.base.ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Save, and send the signal in the same transaction: a receiver may refuse the change."""
        with transaction.atomic(using=using):
            before = self._stored_details()
            super().save(
                force_insert=force_insert,
                force_update=force_update,
                using=using,
                update_fields=update_fields,
            )
            # As it is stored, not as the caller has it: `update_fields` may have left columns out.
            now = self._stored_details()
            if not before:
                signals.membership_added.send(Membership, membership=now)
            elif before != now:
                signals.membership_changed.send(Membership, membership=now, before=before)

    def _stored_details(self) -> dict[str, str]:
        """Return the stored membership as signals send it; empty if there is none."""
        if self.pk is None:
            return {}
        rows = Membership.objects.select_for_update(of=("self",)).select_related("user")
        stored = rows.filter(pk=self.pk).first()
        return (
            membership_details(stored.user.get_username(), stored.tenant_id, stored.role)
            if stored
            else {}
        )


def membership_details(username: str, tenant_id: str, role: str) -> dict[str, str]:
    """Return a membership as the arguments of its signals."""
    return {"username": username, "tenant_id": tenant_id, "role": role}


@receiver(post_delete, sender=Membership)
def _send_removed(instance: Membership, **kwargs: Any) -> None:
    # Runs in the transaction that deletes, once for each row, for cascades as well.
    removed = membership_details(instance.user.get_username(), instance.tenant_id, instance.role)
    signals.membership_removed.send(Membership, membership=removed)


def role_in(username: str, tenant_id: str) -> str | None:
    """Return the role of the active user in the tenant, or None without a membership."""
    return (
        Membership.objects.filter(
            user__username=username, user__is_active=True, tenant_id=tenant_id
        )
        .values_list("role", flat=True)
        .first()
    )


def tenants_of(username: str) -> list[str]:
    """Return the tenants an active user belongs to."""
    memberships = Membership.objects.filter(user__username=username, user__is_active=True)
    return list(memberships.values_list("tenant_id", flat=True))
