"""Do what comes due; for deployments that run daphne without `serve`."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from dwp_project import background


class Command(BaseCommand):
    help = (
        "Expire overdue requests every second and remove what is old, until stopped. Any "
        "number may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(background.clock())
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
