"""Say which policy applies to an action in a tenant, and why that one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dwp_project.gateway.tokens import is_identifier
from dwp_project.jsontext import canonical
from hitl.approvals import shortages
from hitl.desk import explain, wording
from hitl.models.requests import MAX_WRITTEN_ACTION_LENGTH
from hitl.policies import rules
from hitl.policies.rules import PolicyMatch
from hitl.text import lookalikes

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
    explanation = explain.explanation(tenant, action, matches)
    lines = [
        explanation.verdict,
        *explanation.spelling,
        explanation.heading,
        *(f"  {line}" for line in explanation.asks),
        *explanation.shortages,
    ]
    if explanation.others:
        lines.append(explanation.others_heading)
        lines += [f"  {policy}: {why}" for policy, why in explanation.others]
    return lines


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
