"""Verify an exported file, anywhere: no database and no running deployment are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hitl.audit import signing, verify_export
from hitl.audit.export_format import Unreadable
from hitl.text import sanitize

# The exit code if the file holds but the key that signed it is not known.
_KEY_UNKNOWN = 2


class Command(BaseCommand):
    help = (
        "Verify signature, digest, hashes, links and count of an exported file. Ends with 0 if it "
        "holds, 1 if it does not, 2 if it holds but the key is known only from the file itself."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the ZIP file")
        parser.add_argument(
            "--public-key", help="a file with the public key, which came by another way"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path, keys = Path(options["file"]), {}
        if options["public_key"]:
            key_file = Path(options["public_key"])
            try:
                public = signing.public_key_of(key_file.read_bytes(), str(key_file))
            except (OSError, signing.KeyUnusable) as exc:
                raise CommandError(str(exc)) from exc
            keys = {signing.key_id_of(public): public}
        try:
            export = verify_export.verify(path, keys)
        except OSError as exc:
            raise CommandError(f"{path} cannot be read: {exc.strerror}") from exc
        except Unreadable as exc:
            raise CommandError(f"{path} does not hold: {exc}.") from exc
        # The file may come from anybody: control characters must not reach the terminal.
        manifest = {
            name: sanitize.plain(value) if isinstance(value, str) else value
            for name, value in export.manifest.items()
        }
        self.stdout.write(
            f"tenant {manifest['tenant'] or '(deployment)'}, {manifest['records']} records, "
            f"{manifest['firstSequence']} to {manifest['lastSequence']}\n"
            f"from {manifest['from'] or 'the beginning'} to {manifest['to'] or 'the end'}, "
            f"exported {manifest['createdAt']} by {manifest['createdBy']}\n"
            f"checkpoints in it vouch for records up to {export.vouched or 'none'}"
        )
        for after, sequence in export.breaks:
            self.stdout.write(
                f"acknowledged break: record {sequence} follows record {after}; what stands "
                "between them does not belong to the chain"
            )
        if export.is_key_known:
            self.stdout.write(f"It holds. Signed by the key you named, {manifest['keyId']}.")
            return
        self.stdout.write(
            f"It holds in itself. It is signed by key {manifest['keyId']}, which is known from the "
            "file alone: anybody can make such a file. Name the deployment's key with --public-key."
        )
        raise CommandError(
            "the key that was named signed something else"
            if keys
            else "the signing key is not known",
            returncode=_KEY_UNKNOWN,
        )
