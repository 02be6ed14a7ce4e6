"""Send the signals that are due and adopt what agents wrote, for deployments that run daphne
without `serve`."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from dwp_project.gateway import shutdown
from hitl.adoption import scanner
from hitl.delivery import relay


class Command(BaseCommand):
    help = (
        "Send signals that no agent has received yet, and adopt requests that agents wrote to "
        "Redis, until stopped. Any number may run at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        shutdown.run_until_signal(_run)
        self.stdout.write("Stopped.")
        if getattr(self, "_called_from_command_line", False):
            shutdown.force_exit_soon()


async def _run() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay.run())
        group.create_task(scanner.run())
