"""Write a signed export of one tenant's audit records to a file."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dwp_project.gateway.errors import DwpError
from hitl.actors import system_actor
from hitl.audit import export as audit_export
from hitl.audit import export_file
from hitl.audit.export_format import Format
from hitl.text import dates


class Command(BaseCommand):
    help = "Write the audit records of a tenant and a range of time to FILE, signed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a ZIP file, which must not exist yet")
        parser.add_argument("--tenant", required=True, help="'' is the deployment's own chain")
        parser.add_argument("--from", dest="since", help="first moment: 2026-01-16 or with a time")
        parser.add_argument("--to", dest="until", help="last moment; a day means all of it")
        parser.add_argument("--format", choices=[form.value for form in Format], default="jsonl")

    def handle(self, *args: Any, **options: Any) -> None:
        path = Path(options["file"])
        since = _parse_time(options["since"], "--from")
        until = _parse_time(options["until"], "--to", is_end=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise CommandError(f"{path} cannot be made: {exc.strerror}") from exc
        try:
            with os.fdopen(descriptor, "wb") as file:
                export = audit_export.begin(
                    system_actor(options["tenant"]),
                    Format(options["format"]),
                    since=since,
                    until=until,
                )
                for chunk in export_file.zip_chunks(export):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as exc:
            # Half a file would be taken for an export.
            path.unlink(missing_ok=True)
            if isinstance(exc, DwpError):
                raise CommandError(f"{path} was not written: {exc.message}") from exc
            raise
        records = f"records {export.first} to {export.last}" if export.last else "no records"
        self.stdout.write(f"{path}: {records}")


def _parse_time(text: str | None, name: str, *, is_end: bool = False) -> datetime | None:
    try:
        return dates.parse(text or "", is_end=is_end)
    except ValueError as exc:
        raise CommandError(f"{name}: {text} is no time; write 2026-01-16T09:30") from exc
