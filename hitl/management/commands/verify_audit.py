"""Verify the audit chains and say where one breaks."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from hitl.audit import diagnose, triggers, verify


class Command(BaseCommand):
    help = "Verify every audit chain, or one tenant's, beside its checkpoints; exit 1 at a break."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")
        parser.add_argument("--json", action="store_true", help="one JSON object for each chain")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["tenant"]
        results = [
            self._verify(tenant, is_json=options["json"])
            for tenant in (verify.tenants() if chosen is None else [chosen])
        ]
        broken = [result for result in results if isinstance(result, diagnose.ChainBreak)]
        wrong = []
        if broken:
            first = broken[0]
            name = first.tenant_id or "(deployment)"
            wrong.append(f"Chain of {name} breaks at record {first.sequence}: {first.why}")
        if missing := triggers.missing(connection):
            wrong.append(
                f"The audit table has lost its trigger {', '.join(missing)}: "
                "it can be changed. Find out since when, then install it again."
            )
        if wrong:
            raise CommandError(" ".join(wrong))
        if not options["json"]:
            whole = [result for result in results if isinstance(result, verify.IntactChain)]
            total = sum(result.records for result in whole)
            count = sum(len(result.acknowledged_breaks) for result in whole)
            breaks = f", with {count} acknowledged break{'s' * (count != 1)}" if count else ""
            self.stdout.write(f"Every chain holds: {total} records{breaks}.")

    def _verify(self, tenant: str, *, is_json: bool) -> verify.IntactChain | diagnose.ChainBreak:
        result = verify.verify(tenant)
        name = tenant or "(deployment)"
        if is_json:
            line = json.dumps(verify.as_json(result), ensure_ascii=False)
            self.stdout.write(line)
        elif isinstance(result, diagnose.ChainBreak):
            self.stdout.write(f"{name}: {result.kind} at record {result.sequence}. {result.why}")
        else:
            vouched = f"signed up to {result.vouched}" if result.vouched else "not signed"
            self.stdout.write(
                f"{name}: {result.records} records hold, head {result.head[:16]}…, {vouched}"
            )
            for note in result.notes:
                self.stdout.write(f"  {note}")
        return result
