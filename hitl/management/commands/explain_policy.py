"""Say which policy applies to an action in a tenant, and why that one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dwp_project.gateway.tokens import is_identifier
from dwp_project.jsontext import canonical
from hitl.approvals import shortages
from hitl.desk import wording
from hitl.models.requests import MAX_WRITTEN_ACTION_LENGTH
from hitl.policies import rules
from hitl.policies.rules import PolicyMatch, Rule
from hitl.states import OnTimeout
from hitl.text import lookalikes, sanitize

_LEFT_OUT = ("version",)


class Command(BaseCommand):
    help = "Show which policy applies to an action in a tenant, what it asks, and why that one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's id")
        parser.add_argument("action", help="an action type, such as delete_mail")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant, action = options["tenant"], options["action"]
        if not is_identifier(tenant):
            raise CommandError("A tenant id is printable text without spaces around it.")
        if len(action) > MAX_WRITTEN_ACTION_LENGTH:
            raise CommandError("An action type is at most 512 characters.")
        matches = rules.explain(tenant, action)
        if options["json"]:
            self.stdout.write(canonical(_as_json(tenant, action, matches)))
            return
        for line in _as_text(tenant, action, matches):
            self.stdout.write(line)


def _as_text(tenant: str, action: str, matches: list[PolicyMatch]) -> list[str]:
    name = sanitize.plain(action) or "an action without a name"
    heading = "Asked for now, it would ask this:"
    folded = lookalikes.fold(action)
    spelling = [f"It is compared as {sanitize.plain(folded)}."] if folded != action else []
    if not matches:
        lines = [f"No policy of {tenant} matches {name}: the default applies.", *spelling]
        return [*lines, heading, *_in_words(Rule())]
    first, *others = matches
    rule, read_as = rules.rule_as_of(first.policy), sanitize.plain(first.read_as)
    lines = [
        f"{first.policy} of {tenant} applies to {name}: {first.why}.",
        *spelling,
        *([f"{first.policy} reads it as {read_as}."] if first.read_as != action else []),
        heading,
        *_in_words(rule),
        *(wording.shortage(shortage) for shortage in shortages.of_rule(tenant, rule)),
    ]
    if others:
        lines.append("These match as well and do not apply:")
        lines += [f"  {other.policy}: {other.why}{_reading(other, action)}" for other in others]
    return lines


def _reading(match: PolicyMatch, action: str) -> str:
    return f" (reads it as {sanitize.plain(match.read_as)})" if match.read_as != action else ""


def _in_words(rule: Rule) -> list[str]:
    who = {
        "": "the requester, an approver or an admin decides",
        "approver": "an approver or an admin decides",
        "admin": "an admin decides",
    }
    default = settings.HITL_DEFAULT_TIMEOUT_SECONDS
    lines = [
        who[rule.required_role],
        f"{rule.min_approvals} {'person' if rule.min_approvals == 1 else 'people'} must approve, "
        "1 rejects",
        "the requester may not approve" if rule.forbid_requester else "",
        "a rejection needs a reason" if rule.reason_required else "",
        f"its risk is {rule.risk}" if rule.risk else "",
        "it is decided on its own page, never with others" if rule.is_decided_alone else "",
        f"it waits {rule.timeout_seconds} s, or as long as the asker says if that is less"
        if rule.timeout_seconds
        else f"it waits {default} s, or as long as the asker says",
        f"then {rule.escalate_to_role} decides, for {rule.escalate_seconds} s more, then it expires"
        if rule.on_timeout == OnTimeout.ESCALATE
        else "then it expires",
    ]
    return [f"  {line}" for line in lines if line]


def _as_json(tenant: str, action: str, matches: list[PolicyMatch]) -> dict[str, Any]:
    applies = matches[0].policy if matches else None
    rule = rules.rule_as_of(applies)
    folded = lookalikes.fold(action)
    return {
        "tenant": tenant,
        "action": action,
        **({"comparedAs": folded} if folded != action else {}),
        "rule": {name: value for name, value in asdict(rule).items() if name not in _LEFT_OUT},
        "shortages": [wording.shortage(each) for each in shortages.of_rule(tenant, rule)],
        "policies": [
            {
                "pattern": match.policy.pattern,
                "version": match.policy.version,
                "applies": match.applies,
                "why": match.why,
                **({"readAs": match.read_as} if match.read_as != action else {}),
            }
            for match in matches
        ],
    }
