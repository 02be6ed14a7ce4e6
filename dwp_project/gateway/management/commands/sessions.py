"""Resume sessions whose process is gone; for deployments that run daphne without `serve`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dwp_project import background
from dwp_project.gateway import shutdown


class Command(BaseCommand):
    help = (
        "Carry on the sessions of processes that have died, or end them with the reason, until "
        "stopped. Agents run here then. Any number may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        shutdown.run_until_signal(background.sessions)
        self.stdout.write("Stopped.")
        if getattr(self, "_called_from_command_line", False):
            shutdown.force_exit_soon()
