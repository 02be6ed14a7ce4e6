"""An application that fails in every way: `python -m … PORT FILE [--stock] [--receive 2]`.

On our server, or with `--stock` on the daphne that it repairs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
from contextvars import ContextVar

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dwp_project.settings")

import daphne.server  # first: it installs the reactor
import django

django.setup(set_prefix=False)

# ruff: noqa: E402 - these need what Django has loaded
from channels.routing import URLRouter
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

from dwp_project import server as ours
from dwp_project import urls
from dwp_project.asgi_types import Receive, Scope, Send
from dwp_project.gateway import envelope
from dwp_project.gateway.body import BodyCap, read_json
from dwp_project.gateway.consumers import ApiConsumer
from dwp_project.gateway.handler import Handler
from dwp_project.sse import frames

LEFT_BEHIND: ContextVar[bytes] = ContextVar("LEFT_BEHIND", default=b"nothing")
PIECE = b"x" * 65536
# What a server that waits for nobody would hold in the end.
ENDLESS_PIECES = 1024


class Consumer(ApiConsumer):
    """Answers on the paths below `/consumer`."""

    async def answer(self) -> None:
        match self.scope["url_route"]["kwargs"]["does"]:
            case "raise":
                raise RuntimeError("in a consumer")
            case "read":
                size = len(read_json(self.request))
                await self.send_json(envelope.success({"members": size}, "Body read"))
            case "last":
                await self.start(200, [])
                await self.write(b": begun\n\n")
                await asyncio.sleep(3600)

    async def drain(self) -> None:
        await self.interrupt()
        await self.write(frames.retry(1000))
        await self.cut()


def view_that_raises(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("in a view")


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    path = scope["path"]
    if path == "/fail":
        raise RuntimeError("before the headers")
    if path == "/silent":
        return
    if path == "/context":
        inherited = LEFT_BEHIND.get()
        LEFT_BEHIND.set(b"something")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": inherited})
        return
    if path == "/in-flight":
        await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/slow-to-end":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        try:
            await asyncio.sleep(3600)
        finally:
            os.close(os.open(arguments.file, os.O_CREAT))
    if path == "/fail-late":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise RuntimeError("after the headers")
    if path == "/stop-late":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        return
    if path in ("/endless", "/large"):
        for _ in range(ENDLESS_PIECES if path == "/endless" else 16):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            await asyncio.sleep(0)
    body = PIECE * 16 if path == "/heavy" else b""
    await send({"type": "http.response.body", "body": body + b"whole"})


urls.urlpatterns.append(path("view/raise", view_that_raises))
application = BodyCap(
    URLRouter(
        [
            path("consumer/<does>", Consumer.as_asgi()),
            re_path(r"^view/", Handler()),  # type: ignore[arg-type]
            re_path(r"", fail),  # type: ignore[arg-type]
        ]
    )
)


async def background() -> None:
    """Fail at once; the server goes on."""
    raise RuntimeError("in the background")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--receive", type=float, default=ours.Limits().receive)
    arguments = parser.parse_args()
    # What most shells allow.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
    if arguments.stock:
        endpoint = f"tcp:port={arguments.port}:interface=127.0.0.1"
        daphne.server.Server(application, endpoints=[endpoint]).run()
    else:
        bound, _ = ours.bind("127.0.0.1", [arguments.port])
        ports, _ = ours.listen("127.0.0.1", bound)
        limits = ours.Limits(receive=arguments.receive)
        ours.Server(application, ports, background=background, limits=limits).run()
