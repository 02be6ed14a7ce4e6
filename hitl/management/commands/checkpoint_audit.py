"""Sign the heads of the audit chains now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hitl.actors import system_actor
from hitl.audit import checkpoint_files, checkpoint_trust, checkpoints, record


class Command(BaseCommand):
    help = "Sign the head of every audit chain that moved, and write it outside the database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")

        parser.add_argument(
            "--rewrite-files",
            action="store_true",
            help="write files that lost lines again from the database, and audit that",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["tenant"]
        failed = []
        for tenant in record.tenants() if chosen is None else [chosen]:
            name = tenant or "(deployment)"
            try:
                if options["rewrite_files"] and (
                    checkpoints.is_file_lost(tenant) or not checkpoint_trust.vouched(tenant)
                ):
                    checkpoints.accept_loss(system_actor(tenant))
                    self.stdout.write(f"{name}: the loss is recorded, and the file written again")
                checkpoint = checkpoints.sign_head(tenant)
            except checkpoints.ChainDiffers as exc:
                failed.append(f"{name}: {exc}")
                continue
            self.stdout.write(
                f"{name}: record {checkpoint.sequence} signed by key {checkpoint.key_id}"
                if checkpoint
                else f"{name}: nothing new to sign"
            )
            if checkpoints.is_file_lost(tenant):
                failed.append(
                    f"{name}: {checkpoint_files.file_of(tenant)} lacks checkpoints that were "
                    "written to it. Find out why. To accept the loss: --rewrite-files"
                )
            elif not checkpoints.is_newest_in_file(tenant):
                failed.append(f"{name}: not written outside the database; the log says why")
        if failed:
            raise CommandError("\n".join(failed))
