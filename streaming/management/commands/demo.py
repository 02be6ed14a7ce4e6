"""Play the scenarios against a running server, or against one started for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hitl.audit import verify
from hitl.models import AuditRecord
from streaming import scenarios

# Chosen: the first start, with migrations, on a slow machine.
_START_SECONDS = 60


class Command(BaseCommand):
    help = (
        "Play the approve and the reject scenario and every other path that clients use over "
        "HTTP; exit 0 only if all was as promised."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        client = scenarios.Client(settings.HOST, settings.PORTS[0], self.stdout.write)
        with self._server(client):
            try:
                self.stdout.write("Approve and resume: 메일 3개를 삭제해주세요")
                approved = scenarios.play_approval(client, self.stdout.write)
                self.stdout.write("\nReject and stop: delete 3 mails")
                rejected = scenarios.play_rejection(client, self.stdout.write)
                self.stdout.write("\nEvery other path")
                scenarios.play_front_end(client, self.stdout.write)
                withdrawn = scenarios.play_withdrawal(client, self.stdout.write)
                cancelled = scenarios.play_cancellation(client, self.stdout.write)
                self._audit_trail(approved, rejected, withdrawn, cancelled)
            except (scenarios.NotAsPromised, OSError, KeyError, ValueError) as exc:
                raise CommandError(f"Not as promised: {exc}") from exc
        self.stdout.write("\nEverything was as docs/reference/wire.md says.")

    @contextmanager
    def _server(self, client: scenarios.Client) -> Iterator[None]:
        """Use the server that answers on HOST and the first of PORTS, or start one."""
        if client.is_served():
            self.stdout.write(f"Using the server on {settings.HOST}:{settings.PORTS[0]}.\n")
            yield
            return
        self.stdout.write(f"Starting a server on {settings.HOST}:{settings.PORTS[0]} …\n")
        serve = subprocess.Popen([sys.executable, sys.argv[0], "serve"], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not client.is_served():
                if serve.poll() is not None or time.monotonic() > deadline:
                    raise CommandError("The server did not start; `make run` says why.")
                time.sleep(0.2)
            yield
        finally:
            serve.send_signal(signal.SIGTERM)
            serve.wait(timeout=30)

    def _audit_trail(self, *request_ids: str) -> None:
        self.stdout.write("\nAudit trail:")
        records = AuditRecord.objects.filter(request_id__in=request_ids).order_by("sequence")
        for entry in records:
            self.stdout.write(
                f"  #{entry.sequence} {entry.at:%H:%M:%S} {entry.event:<18} {entry.request_id} "
                f"by {entry.actor} ({entry.actor_kind}, {entry.channel}) {entry.hash[:12]}…"
            )
        audited = [entry.event for entry in records]
        ends = ("approved", "rejected", "cancelled", "cancelled")
        expected = [event for end in ends for event in ("request:opened", f"request:{end}")]
        scenarios.expect(
            audited == expected,
            f"the audit trail in this DATA_DIR's database reads {audited}. "
            "Does the server use another DATA_DIR or DATABASE_URL?",
        )
        verified = verify.verify(scenarios.TENANT)
        scenarios.expect(
            isinstance(verified, verify.IntactChain), f"its chain is broken: {verified}"
        )
        self.stdout.write(f"  the chain of {scenarios.TENANT} holds")
