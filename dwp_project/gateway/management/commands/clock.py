"""Do what comes due; for deployments that run daphne without `serve`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dwp_project import background
from dwp_project.gateway import ending


class Command(BaseCommand):
    help = (
        "Expire overdue requests every second and remove what is old, until stopped. Any "
        "number may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ending.run_until_told(background.clock)
        self.stdout.write("Stopped.")
        if getattr(self, "_called_from_command_line", False):
            ending.end_at_last()
