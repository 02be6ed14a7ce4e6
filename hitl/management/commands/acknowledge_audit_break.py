"""Let a blocked audit chain go on behind records that do not belong to it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dwp_project.gateway.errors import DwpError
from hitl.actors import system_actor
from hitl.audit import acknowledge


class Command(BaseCommand):
    help = (
        "Write an audit record that names the records which stand outside a tenant's chain, and "
        "behind which the chain goes on. Nothing is changed or removed, and verification names "
        "the break for ever. Find out first who inserted them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="'' is the deployment's own chain")
        parser.add_argument(
            "--reason", required=True, help="what is known of the break; it is kept for good"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"].strip()
        if not reason or len(reason) > acknowledge.MAX_REASON_LENGTH:
            raise CommandError(f"--reason is 1 to {acknowledge.MAX_REASON_LENGTH} characters.")
        try:
            acknowledged = acknowledge.acknowledge(system_actor(options["tenant"]), reason)
        except DwpError as exc:
            raise CommandError(str(exc.message)) from exc
        for inserted in (*acknowledged.records, *acknowledged.outside):
            self.stdout.write(
                f"record {inserted.sequence} does not belong to the chain, hash {inserted.hash}"
            )
        unnamed = acknowledged.skipped - len(acknowledged.records)
        if unnamed:
            self.stdout.write(f"nor do {unnamed} records more behind those")
        self.stdout.write(
            f"{options['tenant'] or '(deployment)'}: the chain goes on from record "
            f"{acknowledged.sequence}, which follows record {acknowledged.after}."
        )
