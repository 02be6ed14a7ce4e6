"""An application that fails in every way, on our server: `python -m … PORT`."""

from __future__ import annotations

import asyncio
import os
import sys

import django

from dwp_project.asgi_types import Receive, Scope, Send


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    path = scope["path"]
    if path == "/fail":
        raise RuntimeError("before the headers")
    if path == "/silent":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if path == "/slow-to-end":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        try:
            await asyncio.sleep(3600)
        finally:
            os.close(os.open(sys.argv[2], os.O_CREAT))
    if path == "/fail-late":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise RuntimeError("after the headers")
    if path == "/stop-late":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        return
    await send({"type": "http.response.body", "body": b"whole"})


async def background() -> None:
    """Fail at once; the server goes on."""
    raise RuntimeError("in the background")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dwp_project.settings")
    django.setup()
    from dwp_project import server

    bound, _ = server.bind("127.0.0.1", [int(sys.argv[1])])
    ports, _ = server.listen("127.0.0.1", bound)
    server.Server(application, ports, background=background).run()
