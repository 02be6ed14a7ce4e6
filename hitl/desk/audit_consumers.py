"""The long answers of the audit pages, outside Django's views: a verification's progress, and
exports."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.translation import gettext as _
from rest_framework.authentication import CSRFCheck

from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import Conflict, Forbidden, InvalidValue, NotFound
from dwp_project.jsontext import compact
from dwp_project.offload import run_sync
from hitl.actors import Actor
from hitl.audit import access, export_file, verify_job
from hitl.audit import export as audit_export
from hitl.audit.export_format import Format
from hitl.text import dates

# Chosen: how often a verification reports its progress; smooth enough for a progress bar.
_PROGRESS_SECONDS = 0.5
# Chosen: how often an open answer checks that the operator may still read the chain.
_RECHECK_SECONDS = 5.0
# Keeps the tasks from being collected while they run.
_running_jobs: set[asyncio.Task[None]] = set()


class AuditPageConsumer(OperatorConsumer):
    """A form of the audit pages, posted by a member of the tenant it names."""

    def form(self) -> QueryDict:
        """Return the posted form; raises `Forbidden` if its CSRF token is missing or wrong."""
        # Says why, without the page that Django's own middleware makes.
        check = CSRFCheck(_unused_view)
        check.process_request(self.request)
        if check.process_view(self.request, _unused_view, (), {}) is not None:
            raise Forbidden
        return self.request.POST

    async def reading_actor(self, tenant_id: str) -> Actor:
        """Return the operator as actor in the tenant; raises `NotFound` if they may not read its
        chain."""
        operator = await self.operator()
        if tenant_id not in access.readable_chains(operator):
            raise NotFound
        return access.reader_actor(operator, tenant_id, self.request)

    async def start_uncached(self, **headers: str) -> None:
        """Send the headers of an answer that no cache stores and no proxy buffers."""
        fixed = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = HttpResponse(headers={**headers, **fixed})
        await self.start(200, self.response_headers(response))


class VerifyConsumer(AuditPageConsumer):
    """`POST /admin/book/verify`: lines of JSON with the progress, and last the result."""

    job: verify_job.VerifyJob | None = None

    async def drain(self) -> None:
        """Stop the verification, because the server is stopping."""
        if self.job is not None:
            self.job.stop()

    async def answer(self) -> None:
        tenant_id = self.form().get("tenant", "")
        actor = await self.reading_actor(tenant_id)
        try:
            self.job, is_new = verify_job.begin(actor)
        except verify_job.Busy as exc:
            raise Conflict(_("Another chain is being verified here. Try again later.")) from exc
        if is_new:
            # A task of its own, so that the verification goes on while the page is reloaded.
            task = asyncio.create_task(run_sync(verify_job.run, self.job))
            _running_jobs.add(task)
            task.add_done_callback(_running_jobs.discard)
        await self.start_uncached(**{"Content-Type": "application/x-ndjson"})
        checked_at = time.monotonic()
        while not self.job.is_over:
            await self._write_line(self.job.watch())
            await asyncio.sleep(_PROGRESS_SECONDS)
            if time.monotonic() - checked_at > _RECHECK_SECONDS:
                await self.reading_actor(tenant_id)
                checked_at = time.monotonic()
        await self._write_line(self.job.watch() | {"result": self.job.result})
        await self.finish()

    async def _write_line(self, line: dict[str, Any]) -> None:
        await self.write(compact(line).encode() + b"\n")


class ExportConsumer(AuditPageConsumer):
    """`POST /admin/book/export`: a signed file, sent as fast as the client takes it."""

    async def answer(self) -> None:
        form = self.form()
        tenant_id = form.get("tenant", "")
        actor = await self.reading_actor(tenant_id)
        try:
            format_ = Format(form.get("format", ""))
            zone = dates.zone_named(form.get("zone", ""))
            since = dates.parse(form.get("from", ""), zone=zone)
            until = dates.parse(form.get("to", ""), is_end=True, zone=zone)
        except ValueError as exc:
            raise InvalidValue(_("Choose a format, and times such as 2026-01-16T09:30.")) from exc
        export = await run_sync(audit_export.begin, actor, format_, since=since, until=until)
        disposition = f'attachment; filename="{export.file_name}"'
        await self.start_uncached(
            **{"Content-Type": "application/zip", "Content-Disposition": disposition}
        )
        pieces = export_file.zip_chunks(export)
        checked_at = time.monotonic()
        while (piece := await run_sync(next, pieces, None)) is not None:
            if piece:
                # Returns when the client has room for more, so nothing piles up here.
                await self.write(piece)
            if time.monotonic() - checked_at > _RECHECK_SECONDS:
                await self.reading_actor(tenant_id)
                checked_at = time.monotonic()
        await self.finish()


def _unused_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
