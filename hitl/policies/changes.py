"""Creates, changes and retires policies: admins only, a version at a time, audited.

The only writer of policies. What a policy may say is checked here.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from dwp_project import clocks
from dwp_project.gateway.roles import Role
from hitl import errors
from hitl.actors import Actor
from hitl.audit import record
from hitl.audit.request_digest import rule_members
from hitl.models import Policy
from hitl.models.policies import MAX_ACTION_LENGTH, MOST_APPROVALS, MOST_SECONDS, REQUIRED_ROLES
from hitl.policies import patterns
from hitl.policies.patterns import ANY
from hitl.policies.rules import Rule, rule_as_of
from hitl.states import AuditEvent, OnTimeout, Risk
from hitl.text import sanitize

_ROLES = [role for role, _label in REQUIRED_ROLES]


def create(actor: Actor, pattern: str, rule: Rule, *, now: datetime | None = None) -> Policy:
    """Create a policy of the actor's tenant; a retired one comes back as its next version.

    Raises `MayNotChangePolicies`, `InvalidPolicy`, `PolicyExists`.
    """
    _authorise(actor)
    check(pattern, rule)
    current = Policy.objects.filter(tenant_id=actor.tenant_id, pattern=pattern, is_current=True)
    try:
        with transaction.atomic():
            # Under the lock: of two who make alike patterns at once, one sees the other's.
            record.lock_chain(actor.tenant_id)
            check_is_new(actor.tenant_id, pattern)
            before = current.first()
            if before is None or _supersede(before):
                return _write(actor, AuditEvent.POLICY_CREATED, pattern, rule, before, now)
    except IntegrityError as exc:  # somebody else made it in the same moment
        raise errors.PolicyExists from exc
    raise errors.PolicyExists


def change(
    actor: Actor, pattern: str, rule: Rule, *, version: int, now: datetime | None = None
) -> Policy:
    """Create the next version of the policy that was read in `version`, and return it.

    Requests keep the version they were opened under. A rule that is the same makes no version:
    the current one is returned. Raises `MayNotChangePolicies`,
    `InvalidPolicy`, `PolicyOutdated`.
    """
    _authorise(actor)
    check(pattern, rule)
    with transaction.atomic():
        before = _read_version(actor, pattern, version)
        if _is_same(rule_as_of(before), rule):
            return before
        if not _supersede(before):
            raise errors.PolicyOutdated
        return _write(actor, AuditEvent.POLICY_CHANGED, pattern, rule, before, now)


def retire(actor: Actor, pattern: str, *, version: int, now: datetime | None = None) -> Policy:
    """Retire the policy that was read in `version`: it applies to no request opened from now on.

    Returns the version that says so. Raises `MayNotChangePolicies`, `PolicyOutdated`.
    """
    _authorise(actor)
    with transaction.atomic():
        before = _read_version(actor, pattern, version)
        if not _supersede(before):
            raise errors.PolicyOutdated
        rule = rule_as_of(before)
        return _write(actor, AuditEvent.POLICY_RETIRED, pattern, rule, before, now)


def check(pattern: str, rule: Rule) -> None:
    """Raise `InvalidPolicy` for a pattern or a rule that no policy may have."""
    for is_wrong, field, text in _problems(pattern, rule):
        if is_wrong:
            raise errors.InvalidPolicy(field, text)


def check_is_new(tenant_id: str, pattern: str) -> None:
    """Raise `PolicyExists` if the tenant has a current policy with this pattern, or `InvalidPolicy`
    for one with a pattern that is the same once both are folded."""
    existing = Policy.objects.current().filter(tenant_id=tenant_id)
    alike = [
        other
        for other in existing.order_by("pattern").values_list("pattern", flat=True)
        if patterns.are_alike(pattern, other)
    ]
    if pattern in alike:
        raise errors.PolicyExists
    if alike:
        raise errors.InvalidPolicy(
            "pattern",
            _("The policy %(pattern)s has this pattern in another spelling. Change that one.")
            % {"pattern": sanitize.plain(alike[0])},
        )


def _problems(pattern: str, rule: Rule) -> list[tuple[bool, str, str | Promise]]:
    escalates = rule.on_timeout == OnTimeout.ESCALATE
    further = (rule.escalate_to_role, rule.escalate_seconds)
    return [
        (
            not (0 < len(pattern) <= MAX_ACTION_LENGTH and pattern.isprintable()),
            "pattern",
            _("A pattern is 1 to 128 printable characters."),
        ),
        (
            pattern != pattern.strip(),
            "pattern",
            _("A pattern begins and ends without a space."),
        ),
        (
            ANY * 2 in pattern,
            "pattern",
            _("Two * side by side mean no more than one: leave one out."),
        ),
        (
            not 1 <= rule.min_approvals <= MOST_APPROVALS,
            "min_approvals",
            _("1 to 5 people can be needed."),
        ),
        (
            rule.required_role not in ("", *_ROLES),
            "required_role",
            _("A policy can want an approver or an admin."),
        ),
        (
            not _is_term(rule.timeout_seconds, is_optional=True),
            "timeout_seconds",
            _("A term is 1 second to 30 days."),
        ),
        (
            rule.on_timeout not in OnTimeout.values,
            "on_timeout",
            _("When its time is over, a request expires or escalates."),
        ),
        (
            escalates and rule.escalate_to_role not in _ROLES,
            "escalate_to_role",
            _("Say to which role it escalates: approver or admin."),
        ),
        (
            escalates and not _is_term(rule.escalate_seconds),
            "escalate_seconds",
            _("Say for how long it escalates: 1 second to 30 days."),
        ),
        (
            escalates
            and (rule.required_role, rule.escalate_to_role)
            == (Role.ADMIN.value, Role.APPROVER.value),
            "escalate_to_role",
            _("What wants an admin cannot escalate to approvers: waiting would make it easier."),
        ),
        (
            not escalates and further != ("", None),
            "escalate_to_role" if rule.escalate_to_role else "escalate_seconds",
            _("Only what escalates has a role and a term to escalate to."),
        ),
        (
            rule.risk not in ("", *Risk.values),
            "risk",
            _("A risk is low, medium, high or critical."),
        ),
    ]


def _is_term(seconds: int | None, *, is_optional: bool = False) -> bool:
    return is_optional if seconds is None else 1 <= seconds <= MOST_SECONDS


def _authorise(actor: Actor) -> None:
    if actor.role != Role.ADMIN:
        raise errors.MayNotChangePolicies


def _read_version(actor: Actor, pattern: str, version: int) -> Policy:
    current = Policy.objects.current().filter(tenant_id=actor.tenant_id, pattern=pattern)
    policy = current.filter(version=version).first()
    if policy is None:
        raise errors.PolicyOutdated
    return policy


def _supersede(before: Policy) -> bool:
    """Take `is_current` from a version; of any number of transactions, one gets True."""
    return bool(Policy.objects.filter(pk=before.pk, is_current=True).update(is_current=False))


def _write(
    actor: Actor,
    event: AuditEvent,
    pattern: str,
    rule: Rule,
    before: Policy | None,
    now: datetime | None,
) -> Policy:
    now = now or clocks.now()
    is_retired = event is AuditEvent.POLICY_RETIRED
    columns = asdict(rule)
    del columns["version"]
    policy = Policy.objects.create(
        tenant_id=actor.tenant_id,
        pattern=pattern,
        version=before.version + 1 if before else 1,
        is_retired=is_retired,
        created_at=now,
        created_by=actor.id,
        **columns,
    )
    replaced = before if before and not before.is_retired else None
    details = {
        "policy": {"pattern": pattern, "version": policy.version},
        "before": rule_members(replaced) if replaced else None,
        "after": None if is_retired else rule_members(policy),
    }
    record.write(event, actor, now, details=details)
    return policy


def _is_same(first: Rule, other: Rule) -> bool:
    return replace(first, version="") == replace(other, version="")
