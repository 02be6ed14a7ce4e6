"""Print the public key that verifies this deployment's checkpoints and exports."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from hitl.audit import signing


class Command(BaseCommand):
    # The shell creates the output file, perhaps among the trusted keys, before the command runs,
    # and the checks would refuse an empty key.
    requires_system_checks = ()
    help = "Print the public key that checkpoints and exports are signed with, in PEM."

    def handle(self, *args: Any, **options: Any) -> None:
        key = signing.signing_key()
        self.stdout.write(signing.public_pem(key.public), ending="")
        self.stderr.write(f"key {key.key_id}", lambda text: text)
