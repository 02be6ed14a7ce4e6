"""Expire overdue requests; for deployments that run daphne without `serve`."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from hitl import clock


class Command(BaseCommand):
    help = "Expire overdue requests every second until stopped. Any number may run at once."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(clock.run())
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
