"""What the audit pages fetch outside Django's views: a walk's progress, and exports."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext as _

from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import Conflict, Forbidden, InvalidValue, NotFound
from dwp_project.jsontext import compact
from dwp_project.offload import run_sync
from hitl.actors import Actor
from hitl.audit import access, verify_job
from hitl.audit import export as audit_export
from hitl.audit.export_format import Format
from hitl.text import dates

# How often a watcher is told how far a walk is.
_TELL_SECONDS = 0.5
# How often an answer that stays open asks whether it may go on.
_ASK_SECONDS = 5.0
_walks: set[asyncio.Task[None]] = set()


class BookConsumer(OperatorConsumer):
    """A form of the audit pages, posted by a member of the tenant it names."""

    def posted(self) -> QueryDict:
        """Return the form; raises `Forbidden` without its token."""
        check = CsrfViewMiddleware(_never_called)
        check.process_request(self.request)
        if check.process_view(self.request, _never_called, (), {}) is not None:
            raise Forbidden
        return self.request.POST

    async def reader(self, tenant_id: str) -> Actor:
        """Return who asks, as actor in a tenant whose chain they may read; else `NotFound`."""
        operator = await self.operator()
        if tenant_id not in access.readable_chains(operator):
            raise NotFound
        return access.reader_actor(operator, tenant_id, self.request)

    async def open(self, **headers: str) -> None:
        """Send the headers of an answer that no cache keeps and no proxy collects."""
        fixed = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = HttpResponse(headers={**headers, **fixed})
        await self.start(200, self.response_headers(response))


class VerifyConsumer(BookConsumer):
    """`POST /admin/book/verify`: lines of JSON, how far it is and at last what was found."""

    walk: verify_job.VerifyJob | None = None

    async def drain(self) -> None:
        """Have the walk end: the server does."""
        if self.walk is not None:
            self.walk.stop()

    async def answer(self) -> None:
        tenant_id = self.posted().get("tenant", "")
        actor = await self.reader(tenant_id)
        try:
            self.walk, is_new = verify_job.begin(actor)
        except verify_job.Busy as exc:
            raise Conflict(_("Another chain is being verified here. Try again later.")) from exc
        if is_new:
            # A task of its own: it goes on while the page is loaded again.
            task = asyncio.create_task(run_sync(verify_job.run, self.walk))
            _walks.add(task)
            task.add_done_callback(_walks.discard)
        await self.open(**{"Content-Type": "application/x-ndjson"})
        asked_at = time.monotonic()
        while not self.walk.is_over:
            await self._tell(self.walk.watch())
            await asyncio.sleep(_TELL_SECONDS)
            if time.monotonic() - asked_at > _ASK_SECONDS:
                await self.reader(tenant_id)
                asked_at = time.monotonic()
        await self._tell(self.walk.watch() | {"result": self.walk.result})
        await self.finish()

    async def _tell(self, told: dict[str, Any]) -> None:
        await self.write(compact(told).encode() + b"\n")


class ExportConsumer(BookConsumer):
    """`POST /admin/book/export`: a signed file, sent as fast as the client takes it."""

    async def answer(self) -> None:
        form = self.posted()
        tenant_id = form.get("tenant", "")
        actor = await self.reader(tenant_id)
        try:
            wanted = Format(form.get("format", ""))
            since = dates.parse(form.get("from", ""))
            until = dates.parse(form.get("to", ""), is_end=True)
        except ValueError as exc:
            raise InvalidValue(_("Choose a format, and times such as 2026-01-16T09:30.")) from exc
        export = await run_sync(audit_export.begin, actor, wanted, since=since, until=until)
        disposition = f'attachment; filename="{export.file_name}"'
        await self.open(**{"Content-Type": "application/zip", "Content-Disposition": disposition})
        pieces = audit_export.zip_chunks(export)
        asked_at = time.monotonic()
        while (piece := await run_sync(next, pieces, None)) is not None:
            if piece:
                # Returns when the client has room for more: nothing collects here.
                await self.write(piece)
            if time.monotonic() - asked_at > _ASK_SECONDS:
                await self.reader(tenant_id)
                asked_at = time.monotonic()
        await self.finish()


def _never_called(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
