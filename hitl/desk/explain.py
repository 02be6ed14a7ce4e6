"""Which policy applies to an action, what it asks and why that one, in words: for the pages of
policies and for `manage.py explain_policy`."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.gateway.roles import Role
from hitl.approvals import shortages
from hitl.desk import wording
from hitl.models import ApprovalRequest, Policy
from hitl.policies import rules
from hitl.policies.rules import PolicyMatch, Rule
from hitl.states import OnTimeout
from hitl.text import lookalikes, sanitize


@dataclass(frozen=True, slots=True)
class Explanation:
    """What applies to an action, in sentences; `policy` is None for the default."""

    policy: Policy | None
    verdict: str
    # How the action is compared, if it is not as it is written.
    spelling: list[str]
    heading: str
    asks: list[str]
    shortages: list[str]
    others_heading: str
    others: list[tuple[Policy, str]]


def explanation(tenant_id: str, action_type: str, matches: list[PolicyMatch]) -> Explanation:
    """Return in words what `rules.explain` says of an action in a tenant."""
    first = matches[0] if matches else None
    rule = rules.rule_as_of(first.policy if first else None)
    names = {
        "tenant": tenant_id,
        "action": sanitize.plain(action_type) or _("an action without a name"),
    }
    folded = lookalikes.fold(action_type)
    spelling = []
    if folded != action_type:
        text = _("It is compared as %(action)s.")
        spelling.append(text % {"action": sanitize.plain(folded)})
    if first is None:
        verdict = _("No policy of %(tenant)s matches %(action)s: the default applies.") % names
    else:
        names |= {"policy": str(first.policy), "why": first.why}
        verdict = _("%(policy)s of %(tenant)s applies to %(action)s: %(why)s.") % names
        if first.read_as != action_type:
            read = {"policy": str(first.policy), "action": sanitize.plain(first.read_as)}
            spelling.append(_("%(policy)s reads it as %(action)s.") % read)
    return Explanation(
        policy=first.policy if first else None,
        verdict=verdict,
        spelling=spelling,
        heading=_("Asked for now, it would ask this:"),
        asks=asks(rule),
        shortages=[
            wording.shortage(shortage)
            for shortage in (shortages.of_rule(tenant_id, rule) if first else ())
        ],
        others_heading=_("These match as well and do not apply:"),
        others=[(match.policy, _why(match, action_type)) for match in matches[1:]],
    )


def asks(rule: Rule) -> list[str]:
    """Return what a rule asks, a line for each thing."""
    return [
        line
        for line in (
            who(rule),
            ngettext(
                "%(count)d person must approve, 1 rejects",
                "%(count)d people must approve, 1 rejects",
                rule.min_approvals,
            )
            % {"count": rule.min_approvals},
            _("the requester may not approve") if rule.forbid_requester else "",
            _("a rejection needs a reason") if rule.reason_required else "",
            rule.risk_label,
            _("it is decided on its own page, never with others") if rule.is_decided_alone else "",
            _term(rule),
            _end(rule),
        )
        if line
    ]


def who(rule: Rule) -> str:
    """Return who decides what falls under a rule."""
    if rule.required_role == Role.ADMIN:
        return _("an admin decides")
    if rule.required_role:
        return _("an approver or an admin decides")
    return _("the requester, an approver or an admin decides")


def approvers(rule: Rule) -> str:
    """Return who must approve, in a few words for a column of a list."""
    count = {"count": rule.min_approvals}
    if rule.required_role == Role.ADMIN:
        people = ngettext("%(count)d admin", "%(count)d admins", rule.min_approvals) % count
    elif rule.required_role or rule.forbid_requester:
        people = ngettext(
            "%(count)d approver or admin", "%(count)d approvers or admins", rule.min_approvals
        )
        people %= count
    else:
        people = ngettext(
            "%(count)d person: approver, admin, or who asked",
            "%(count)d people: approvers, admins, or who asked",
            rule.min_approvals,
        )
        people %= count
    return _("%(people)s, not who asked") % {"people": people} if rule.forbid_requester else people


def then(rule: Rule) -> str:
    """Return what happens when the time to decide is over, in a few words."""
    if rule.on_timeout != OnTimeout.ESCALATE:
        return ""
    role = dict(Role.choices).get(rule.escalate_to_role, rule.escalate_to_role)
    term = wording.duration(rule.escalate_seconds or 0)
    return _("then %(role)s, for %(term)s") % {"role": role, "term": term}


def of_request(request: ApprovalRequest, now: Explanation) -> list[str]:
    """Return what is to be said of a request on which an explanation is tried."""
    names = {
        "request": sanitize.plain(request.request_id),
        "policy": str(request.policy),
        "who": sanitize.plain(request.user_id),
    }
    if request.policy is None:
        text = _("%(request)s was opened when no policy applied, and keeps the default.")
    else:
        text = _("%(request)s was opened under %(policy)s, and keeps it.")
    lines = [text % names]
    if request.policy_id != (now.policy.pk if now.policy else None):
        lines.append(_("Opened now, it would fall under what is said here."))
    rule = rules.rule_as_of(now.policy)
    if rule.forbid_requester:
        lines.append(_("%(who)s asked, and may not approve it.") % names)
    return lines


def _why(match: PolicyMatch, action_type: str) -> str:
    if match.read_as == action_type:
        return match.why
    read = {"why": match.why, "action": sanitize.plain(match.read_as)}
    return _("%(why)s (reads it as %(action)s)") % read


def _term(rule: Rule) -> str:
    if rule.timeout_seconds:
        text = _("it waits %(seconds)d s, or as long as the asker says if that is less")
        return text % {"seconds": rule.timeout_seconds}
    default = settings.HITL_DEFAULT_TIMEOUT_SECONDS
    return _("it waits %(seconds)d s, or as long as the asker says") % {"seconds": default}


def _end(rule: Rule) -> str:
    if rule.on_timeout != OnTimeout.ESCALATE:
        return _("then it expires")
    text = _("then %(role)s decides, for %(seconds)d s more, then it expires")
    role = dict(Role.choices).get(rule.escalate_to_role, rule.escalate_to_role)
    return text % {"role": role, "seconds": rule.escalate_seconds}
