"""The rejection reasons that a tenant's operators pick from; every change is audited.

The only writer of rejection reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from dwp_project import clocks
from dwp_project.gateway.errors import ValidationFailed
from dwp_project.gateway.roles import Role
from hitl import errors
from hitl.actors import Actor
from hitl.audit import record
from hitl.models import RejectionReason
from hitl.models.policies import MAX_PRESET_LENGTH
from hitl.states import AuditEvent

# The largest `smallint` of PostgreSQL, which the column is.
MOST_POSITION = 32_767

_ReasonMembers = dict[str, str | int]


def offered(tenants: Collection[str]) -> list[str]:
    """Return the texts to pick from in a form about requests of these tenants.

    Only those that each of the tenants has, so that none ends up in another tenant's audit.
    """
    reasons = RejectionReason.objects.filter(tenant_id__in=tenants).order_by("position", "id")
    texts = list(reasons.values_list("text", flat=True))
    return [text for text in dict.fromkeys(texts) if texts.count(text) == len(set(tenants))]


def chosen(tenants: Collection[str], preset: str, written: str) -> str:
    """Return the reason of a form: a preset of these tenants, a written text, or both."""
    if preset and preset in offered(tenants):
        return f"{preset} – {written}" if written else preset
    return written


def add(
    actor: Actor, text: str, position: int = 0, *, now: datetime | None = None
) -> RejectionReason:
    """Add a reason to those of the actor's tenant.

    Raises `MayNotChangePolicies`, `ReasonExists`, `ValidationFailed`.
    """
    _check(actor, text, position)
    with _raise_if_taken(), transaction.atomic():
        reason = RejectionReason.objects.create(
            tenant_id=actor.tenant_id, text=text, position=position
        )
        _record(actor, None, _members(reason), now)
    return reason


def change(
    actor: Actor, pk: int, text: str, position: int, *, now: datetime | None = None
) -> RejectionReason:
    """Change one of the tenant's reasons; raises as `add` does, and `ReasonNotFound`."""
    _check(actor, text, position)
    with _raise_if_taken(), transaction.atomic():
        reason = _lock_reason(actor, pk)
        before = _members(reason)
        reason.text, reason.position = text, position
        if _members(reason) != before:
            reason.save(update_fields=["text", "position"])
            _record(actor, before, _members(reason), now)
    return reason


def remove(actor: Actor, pk: int, *, now: datetime | None = None) -> None:
    """Remove one of the tenant's reasons; raises `MayNotChangePolicies`, `ReasonNotFound`."""
    _check(actor)
    with transaction.atomic():
        reason = _lock_reason(actor, pk)
        _record(actor, _members(reason), None, now)
        reason.delete()


@contextmanager
def _raise_if_taken() -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise errors.ReasonExists from exc


def _record(
    actor: Actor, before: _ReasonMembers | None, after: _ReasonMembers | None, now: datetime | None
) -> None:
    details = {"before": before, "after": after}
    record.write(AuditEvent.REASONS_CHANGED, actor, now or clocks.now(), details=details)


def _members(reason: RejectionReason) -> _ReasonMembers:
    return {"text": reason.text, "position": reason.position}


def _check(actor: Actor, text: str = "-", position: int = 0) -> None:
    if actor.role != Role.ADMIN:
        raise errors.MayNotChangePolicies
    if not (text.strip() and len(text) <= MAX_PRESET_LENGTH and text.isprintable()):
        raise ValidationFailed(_("A rejection reason is one line of 1 to 500 characters."))
    if not 0 <= position <= MOST_POSITION:
        raise ValidationFailed(_("A position is 0 to 32767."))


def _lock_reason(actor: Actor, pk: int) -> RejectionReason:
    reasons = RejectionReason.objects.filter(pk=pk, tenant_id=actor.tenant_id)
    reason = reasons.select_for_update().first()
    if reason is None:
        raise errors.ReasonNotFound
    return reason
