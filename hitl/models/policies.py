"""Policies: who decides on an action, how many must agree, and the term; and rejection reasons."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.roles import Role
from hitl.states import OnTimeout, Risk

# Characters of an action type, and so of a pattern (wire.md, 3.5).
MAX_ACTION_LENGTH = 128
# Chosen: more people than this are a meeting, not an approval.
MOST_APPROVALS = 5
# The longest term, of a request (wire.md, 3.5) and of a policy alike: 30 days.
MOST_SECONDS = 30 * 24 * 3600
# Chosen: one line that is picked from a list.
MAX_PRESET_LENGTH = 500
REQUIRED_ROLES = [(Role.APPROVER.value, Role.APPROVER.label), (Role.ADMIN.value, Role.ADMIN.label)]
_SECONDS = [MinValueValidator(1), MaxValueValidator(MOST_SECONDS)]


class PolicyQuerySet(models.QuerySet["Policy"]):
    def current(self) -> PolicyQuerySet:
        return self.filter(is_current=True, is_retired=False)


class Policy(models.Model):
    """One version of a tenant's rule for the actions that its pattern matches.

    Only `is_current` of a row ever changes: the next version takes it over. Requests point at
    the version they were opened under. `hitl.policies.changes` writes them.
    """

    tenant_id = models.CharField(_("tenant"), max_length=255)
    # An action type in which `*` stands for any text.
    pattern = models.CharField(_("action pattern"), max_length=MAX_ACTION_LENGTH)
    version = models.PositiveIntegerField(_("version"))
    min_approvals = models.PositiveSmallIntegerField(
        _("approvals needed"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_APPROVALS)],
    )
    forbid_requester = models.BooleanField(_("requester may not approve"), default=False)
    # Empty: the requester, an approver or an admin.
    required_role = models.CharField(
        _("required role"), max_length=16, choices=REQUIRED_ROLES, blank=True
    )
    # None: as the question says, or else the deployment's default.
    timeout_seconds = models.PositiveIntegerField(
        _("seconds to decide"), null=True, blank=True, validators=_SECONDS
    )
    on_timeout = models.CharField(
        _("when time is over"),
        max_length=16,
        choices=OnTimeout.choices,
        default=OnTimeout.EXPIRE,
    )
    escalate_to_role = models.CharField(
        _("escalate to"), max_length=16, choices=REQUIRED_ROLES, blank=True
    )
    escalate_seconds = models.PositiveIntegerField(
        _("further seconds"), null=True, blank=True, validators=_SECONDS
    )
    reason_required = models.BooleanField(_("a rejection needs a reason"), default=False)
    # Empty: the action has none.
    risk = models.CharField(
        _("risk"), max_length=16, choices=Risk.choices, blank=True, default="", db_default=""
    )
    is_current = models.BooleanField(_("current"), default=True)
    # True of the last version of a policy that no longer applies.
    is_retired = models.BooleanField(_("retired"), default=False)
    created_at = models.DateTimeField(_("since"))
    created_by = models.CharField(_("by"), max_length=255)

    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("policy")
        verbose_name_plural = _("policies")
        ordering = ["tenant_id", "pattern", "-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "pattern", "version"], name="policy_version_once"
            ),
            models.UniqueConstraint(
                fields=["tenant_id", "pattern"],
                name="policy_current_once",
                condition=models.Q(is_current=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pattern} v{self.version}"


class RejectionReason(models.Model):
    """A reason that a tenant's operators pick instead of writing it."""

    tenant_id = models.CharField(_("tenant"), max_length=255)
    text = models.CharField(_("reason"), max_length=MAX_PRESET_LENGTH)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("rejection reason")
        verbose_name_plural = _("rejection reasons")
        ordering = ["tenant_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "text"], name="rejection_reason_once")
        ]

    def __str__(self) -> str:
        return self.text
