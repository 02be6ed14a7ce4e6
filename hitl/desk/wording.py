"""A request in a few words: its headline, its action, its first parameters and its rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.gateway.roles import Role
from hitl.approvals.shortages import Shortage
from hitl.delivery import withholding
from hitl.models import ApprovalRequest
from hitl.policies import patterns
from hitl.policies.rules import Rule, rule_of
from hitl.states import OnTimeout, Status
from hitl.text import dates, imitation, json_html, redact, sanitize

# Chosen, so that a row of the inbox stays two or three lines high: characters of a parameter's name
# or value, characters of a headline, parameters of a row, and those of them that are not folded.
_MAX_VALUE_LENGTH = 60
_MAX_HEADLINE_LENGTH = 200
_MAX_PARAMETERS = 12
_UNFOLDED_PARAMETERS = 4


@dataclass(frozen=True, slots=True)
class Parameters:
    """The members of a context in their order, each cut to a line: the first few, those that are
    folded, and how many are left out."""

    first: list[tuple[SafeString, SafeString]]
    more: list[tuple[SafeString, SafeString]]
    hidden: int

    @property
    def folded(self) -> int:
        """Return how many are not seen at first."""
        return len(self.more) + self.hidden

    @property
    def more_label(self) -> str:
        """Return the label of those that are not seen at first."""
        return _("%(count)d more") % {"count": self.folded}


def action(action_type: str) -> str:
    """Return an action type in words: "Delete mail" for `delete_mail`."""
    text = sanitize.plain(_words(action_type))
    return text if text.strip() else _("No action named")


def marked_action(action_type: str) -> SafeString:
    """Return the words of an action type as HTML, with a mark on each letter that imitates."""
    return sanitize.marked(_words(action_type).strip() or _("No action named"))


def _words(action_type: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", action_type)
    words = re.sub(r"[_.\-]+", " ", words).strip()
    return words[:1].upper() + words[1:] if words else action_type


def headline(request: ApprovalRequest) -> SafeString:
    """Return the request's message in one line, or else its action in words."""
    line = message_line(request, _MAX_HEADLINE_LENGTH)
    return sanitize.marked(line or action(request.action_type))


def headline_text(request: ApprovalRequest) -> str:
    """Return the headline as text without HTML."""
    line = message_line(request, _MAX_HEADLINE_LENGTH)
    return sanitize.plain(line) or action(request.action_type)


def message_line(request: ApprovalRequest, length: int) -> str:
    """Return the request's message in one line of at most `length` characters, secrets masked."""
    message: str = redact.spelled_out(redact.masked(request.message))
    return _cut(" ".join(message.replace("\r\n", "\n").split("\n")).strip(), length)


def ending(request: ApprovalRequest) -> str:
    """Return in a few words how the request ended: "approved by kim"."""
    values = {"who": sanitize.plain(request.decided_by)}
    if request.status == Status.APPROVED:
        return _("approved by %(who)s") % values
    if request.status == Status.REJECTED:
        return _("rejected by %(who)s") % values
    # The clock is about to expire what is over and still pending.
    return _("withdrawn") if request.status == Status.CANCELLED else _("expired")


def is_headline(message: str) -> bool:
    """Say whether the headline shows the whole message."""
    return len(message) <= _MAX_HEADLINE_LENGTH and "\n" not in message


def parameters(context: Any) -> Parameters:
    """Return the first parameters of a context, secrets masked, each cut to a line."""
    members = context if isinstance(context, Mapping) else {_("context"): context}
    pairs = [
        (json_html.member_name(_cut(name, _MAX_VALUE_LENGTH)), _short(name, value))
        for name, value in islice(members.items(), _MAX_PARAMETERS)
    ]
    return Parameters(
        pairs[:_UNFOLDED_PARAMETERS],
        pairs[_UNFOLDED_PARAMETERS:],
        max(0, len(members) - len(pairs)),
    )


def votes(request: ApprovalRequest) -> str:
    """Return how many of the needed approvals there are."""
    counts = {"count": request.approvals, "needed": rule_of(request).min_approvals}
    return _("%(count)d of %(needed)d approvals") % counts


def takes_role(request: ApprovalRequest) -> str:
    """Return which role a request takes that not every decider has."""
    role = rule_of(request).required_role
    return _("takes the role %(role)s") % {"role": dict(Role.choices).get(role, role)}


def rule(rule: Rule) -> list[str]:
    """Return a policy's rule in sentences."""
    return [*_asks(rule), *_on_timeout(rule)]


def rule_in_force(request: ApprovalRequest) -> list[str]:
    """Return in sentences the rule of a request as it is in force now: once the request has
    escalated, the words say to whom it has gone and until when."""
    rule = rule_of(request)
    if request.escalated_at is None:
        first, *others = _asks(rule)
        return [first, *_who_approves(rule), *others, *_on_timeout(rule)]
    values = {
        "role": _role(rule.escalate_to_role),
        "since": _until(request.escalated_at, request.created_at),
        "until": _until(request.expires_at, request.escalated_at),
    }
    if request.status != Status.PENDING:
        return [*_asks(rule), format_html(_("It went to the role {role} at {since}."), **values)]
    text = _("It has gone to the role {role} until {until}; if nobody decides, it expires then.")
    return [format_html(text, **values), *_asks(rule)]


def _asks(rule: Rule) -> list[str]:
    """Return in sentences what a decision takes, and what the action can do."""
    sentences = [
        ngettext(
            "%(count)d approval is enough.",
            "%(count)d different people must approve.",
            rule.min_approvals,
        )
        % {"count": rule.min_approvals}
    ]
    if rule.forbid_requester:
        sentences.append(_("Who asked may not approve."))
    if rule.required_role:
        role = _role(rule.required_role)
        sentences.append(_("Approving takes the role %(role)s.") % {"role": role})
    if rule.reason_required:
        sentences.append(_("A rejection needs a reason."))
    if rule.is_decided_alone:
        text = _("It is of %(risk)s, so it is decided on its own page and never with others.")
        sentences.append(text % {"risk": rule.risk_label})
    elif rule.risk_label:
        sentences.append(_("It is of %(risk)s.") % {"risk": rule.risk_label})
    return sentences


def _who_approves(rule: Rule) -> list[str]:
    """Return in a sentence who may approve where the rule names no role."""
    if rule.required_role:
        return []
    if rule.forbid_requester:
        return [_("Approvers and admins may approve.")]
    return [_("Approvers, admins and whoever asked may approve.")]


def _on_timeout(rule: Rule) -> list[str]:
    if rule.on_timeout != OnTimeout.ESCALATE:
        return []
    values = {
        "role": _role(rule.escalate_to_role),
        "term": duration(rule.escalate_seconds or 0),
    }
    text = _("If nobody decides in time, it goes to the role %(role)s for %(term)s more.")
    return [text % values]


def _role(role: str) -> str:
    return str(dict(Role.choices).get(role, role))


def spelling(request: ApprovalRequest) -> list[str]:
    """Return in sentences what is unusual in how the request's action is written.

    Usually there is nothing: it neither imitates other letters nor differs from the pattern of its
    policy.
    """
    sentences = [imitations(request.action_type)]
    if request.policy is not None:
        pattern = request.policy.pattern
        read_as = patterns.read_as(pattern, request.action_type)
        if read_as not in (None, request.action_type):
            text = _("The pattern %(pattern)s of its policy reads it as: %(action)s")
            sentences.append(
                text % {"pattern": sanitize.plain(pattern), "action": sanitize.plain(read_as or "")}
            )
    return [sentence for sentence in sentences if sentence]


def imitations(text: str) -> str:
    """Return a sentence that names the letters of an action or a pattern that imitate others; empty
    if none do."""
    letters = "; ".join(
        f"{character} ({' '.join(f'U+{ord(c):04X}' for c in character)}) ≈ {like}"
        for character, like in imitation.in_name(text).items()
    )
    return _("Letters that look like others: %(letters)s") % {"letters": letters} if letters else ""


def shortage(shortage: Shortage) -> str:
    """Return in words that a policy wants more people than its tenant has."""
    people = _people_needed(shortage) % {
        "needed": shortage.needed,
        "has": shortage.has,
        "tenant": sanitize.plain(shortage.tenant_id),
    }
    if shortage.is_of_their_own:
        return _("What one of them asks, nobody can approve: %(people)s") % {"people": people}
    if shortage.is_escalated:
        text = _("Once it has escalated without an approval, nobody can approve: %(people)s")
        return text % {"people": people}
    return _("Nobody can satisfy this policy: %(people)s") % {"people": people}


def _people_needed(shortage: Shortage) -> str:
    if shortage.role == Role.ADMIN:
        if shortage.is_besides_requester:
            return ngettext(
                "%(needed)d admin is needed besides whoever asks, %(tenant)s has %(has)d.",
                "%(needed)d admins are needed besides whoever asks, %(tenant)s has %(has)d.",
                shortage.needed,
            )
        return ngettext(
            "%(needed)d admin is needed, %(tenant)s has %(has)d.",
            "%(needed)d admins are needed, %(tenant)s has %(has)d.",
            shortage.needed,
        )
    if shortage.is_besides_requester:
        return ngettext(
            "%(needed)d approver or admin is needed besides whoever asks, %(tenant)s has %(has)d.",
            "%(needed)d approvers or admins are needed besides whoever asks, "
            "%(tenant)s has %(has)d.",
            shortage.needed,
        )
    return ngettext(
        "%(needed)d approver or admin is needed, %(tenant)s has %(has)d.",
        "%(needed)d approvers or admins are needed, %(tenant)s has %(has)d.",
        shortage.needed,
    )


def withheld_before(request: ApprovalRequest, until: datetime) -> str:
    """Return what an approval of a request would come to while another agent of its session may be
    waiting, until then."""
    first = _(
        "Another agent may still be waiting for an earlier question of this session, until "
        "%(time)s. It would take an approval of this question for its own."
    )
    if withholding.is_for_good(until, request.created_at):
        then = _(
            "So if you approve, the agent is not told. To let it go on, reject and have it ask "
            "again."
        )
    else:
        then = _(
            "So if you approve, the agent is told only then. To let it go on sooner, reject and "
            "have it ask again."
        )
    return sanitize.filled(f"{first} {then}", time=dates.html(until, form="H:i:s"))


def _until(moment: datetime, before: datetime) -> SafeString:
    """Return the time of a moment as HTML, with its date if the one before is on another day."""
    is_same_day = timezone.localtime(moment).date() == timezone.localtime(before).date()
    return dates.html(moment, form="H:i" if is_same_day else "Y-m-d H:i")


def duration(seconds: int) -> str:
    """Return a duration in words: "5 minutes"."""
    term = timedelta(seconds=seconds)
    if term.days >= 2:
        return ngettext("%(count)d day", "%(count)d days", term.days) % {"count": term.days}
    if seconds >= 7200:
        hours = seconds // 3600
        return ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours}
    if seconds >= 120:
        minutes = seconds // 60
        return ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}
    return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}


def _short(name: str, value: Any) -> SafeString:
    if pattern := redact.pattern_for(name):
        return json_html.mask(redact.Masked(pattern))
    text = redact.beginning(value, _MAX_VALUE_LENGTH)
    return sanitize.marked(_cut(" ".join(text.split("\n")), _MAX_VALUE_LENGTH))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
