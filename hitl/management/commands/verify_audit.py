"""Walk the audit chains and stop at the first break."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from hitl import append_only, audit


class Command(BaseCommand):
    help = "Verify every audit chain, or one tenant's; exit 1 at the first break."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")

    def handle(self, *args: Any, **options: Any) -> None:
        if missing := append_only.missing(connection):
            raise CommandError(
                f"The audit table has lost its trigger {', '.join(missing)}: "
                "it can be changed. Find out since when, then install it again."
            )
        named = options["tenant"]
        total = 0
        for tenant in audit.tenants() if named is None else [named]:
            name = tenant or "(deployment)"
            match audit.verify(tenant):
                case audit.Break(sequence=sequence, why=why):
                    raise CommandError(f"Chain of {name} breaks at record {sequence}: {why}.")
                case audit.Verified(records=records, head=head):
                    self.stdout.write(f"{name}: {records} records hold, head {head[:16]}…")
                    total += records
        self.stdout.write(f"Every chain holds: {total} records.")
