"""Print the public key that verifies this deployment's checkpoints and exports."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from hitl.audit import signing


class Command(BaseCommand):
    # Its output makes a file among the trusted keys, which the checks read: empty at first.
    requires_system_checks = ()
    help = "Print the public key that checkpoints and exports are signed with, in PEM."

    def handle(self, *args: Any, **options: Any) -> None:
        key = signing.signing_key()
        self.stdout.write(signing.public_pem(key.public), ending="")
        self.stderr.write(f"key {key.key_id}", lambda text: text)
