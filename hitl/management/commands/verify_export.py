"""Verify an exported file, anywhere: no database and no running deployment are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hitl.audit import signing, verify_export
from hitl.audit.export_format import Unreadable
from hitl.text import sanitize

# The file holds, and nobody vouches for the key that signed it.
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
            named = Path(options["public_key"])
            try:
                public = signing.public_key_of(named.read_bytes(), str(named))
            except (OSError, signing.KeyUnusable) as exc:
                raise CommandError(str(exc)) from exc
            keys = {signing.key_id_of(public): public}
        try:
            found = verify_export.verify(path, keys)
        except OSError as exc:
            raise CommandError(f"{path} cannot be read: {exc.strerror}") from exc
        except Unreadable as exc:
            raise CommandError(f"{path} does not hold: {exc}.") from exc
        # Whoever made the file wrote this: nothing in it may move the cursor or hide.
        told = {
            name: sanitize.plain(value) if isinstance(value, str) else value
            for name, value in found.manifest.items()
        }
        self.stdout.write(
            f"tenant {told['tenant'] or '(deployment)'}, {told['records']} records, "
            f"{told['firstSequence']} to {told['lastSequence']}\n"
            f"from {told['from'] or 'the beginning'} to {told['to'] or 'the end'}, exported "
            f"{told['createdAt']} by {told['createdBy']}\n"
            f"checkpoints in it vouch for records up to {found.vouched or 'none'}"
        )
        if found.is_key_known:
            self.stdout.write(f"It holds. Signed by the key you named, {told['keyId']}.")
            return
        self.stdout.write(
            f"It holds in itself. It is signed by key {told['keyId']}, which is known from the "
            "file alone: anybody can make such a file. Name the deployment's key with --public-key."
        )
        raise CommandError(
            "the key that was named signed something else"
            if keys
            else "the signing key is not known",
            returncode=_KEY_UNKNOWN,
        )
