"""Walk the audit chains and say where one does not hold."""

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
        named = options["tenant"]
        walked = [
            self._walk(tenant, is_json=options["json"])
            for tenant in (verify.tenants() if named is None else [named])
        ]
        broken = [found for found in walked if isinstance(found, diagnose.ChainBreak)]
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
            total = sum(found.records for found in walked if isinstance(found, verify.IntactChain))
            self.stdout.write(f"Every chain holds: {total} records.")

    def _walk(self, tenant: str, *, is_json: bool) -> verify.IntactChain | diagnose.ChainBreak:
        found = verify.verify(tenant)
        name = tenant or "(deployment)"
        if is_json:
            told = json.dumps(verify.as_json(found), ensure_ascii=False)
            self.stdout.write(told)
        elif isinstance(found, diagnose.ChainBreak):
            self.stdout.write(f"{name}: {found.kind} at record {found.sequence}. {found.why}")
        else:
            vouched = f"signed up to {found.vouched}" if found.vouched else "not signed"
            self.stdout.write(
                f"{name}: {found.records} records hold, head {found.head[:16]}…, {vouched}"
            )
            for note in found.notes:
                self.stdout.write(f"  {note}")
        return found
