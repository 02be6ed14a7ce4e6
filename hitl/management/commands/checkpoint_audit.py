"""Sign the heads of the audit chains now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hitl.audit import checkpoints, record


class Command(BaseCommand):
    help = "Sign the head of every audit chain that moved, and write it outside the database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["tenant"]
        failed = []
        for tenant in record.tenants() if chosen is None else [chosen]:
            name = tenant or "(deployment)"
            try:
                checkpoint = checkpoints.sign_head(tenant)
            except checkpoints.ChainDiffers as exc:
                failed.append(f"{name}: {exc}")
                continue
            self.stdout.write(
                f"{name}: record {checkpoint.sequence} signed by key {checkpoint.key_id}"
                if checkpoint
                else f"{name}: nothing new to sign"
            )
            if not checkpoints.is_newest_in_file(tenant):
                failed.append(f"{name}: not written outside the database; the log says why")
        if failed:
            raise CommandError("\n".join(failed))
