"""The application: Django for pages and REST, consumers for what stays open."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dwp_project.settings")

import django
from django.core.exceptions import ImproperlyConfigured

# Servers other than ours would print a traceback for what an operator has to mend.
try:
    django.setup(set_prefix=False)  # first: it loads the apps that the rest imports
except ImproperlyConfigured as exc:
    raise SystemExit(f"Configuration error: {exc}") from None


from channels.consumer import AsyncConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from dwp_project import offload
from dwp_project.asgi_types import Receive, Scope, Send
from dwp_project.deployment import identity
from dwp_project.gateway.addresses import ForwardedClient
from dwp_project.gateway.body import BodyCap
from dwp_project.gateway.checks import refuse_unsafe_start
from dwp_project.gateway.handler import Handler
from dwp_project.gateway.health import KeptHealth
from dwp_project.gateway.paths import ReadPath
from hitl.api import urls as hitl_urls
from hitl.desk import urls as hitl_pages
from streaming import urls as streaming_urls

try:
    refuse_unsafe_start()
except ImproperlyConfigured as exc:
    raise SystemExit(f"Configuration error: {exc}") from None
# In a thread: some servers import this inside their event loop, and the database may be away.
offload.start_background(identity.current)
django_app: Any = Handler()


def _by_method(methods: tuple[str, ...], consumer: type[AsyncConsumer]) -> Any:
    """Return an app that gives `methods` to the consumer and all others to Django."""
    consumer_app = consumer.as_asgi()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (consumer_app if scope["method"] in methods else django_app)(scope, receive, send)

    return app


_http = URLRouter(
    [
        *(
            path(route, _by_method(methods, consumer))
            for route, methods, consumer in [
                *hitl_urls.consumers,
                *hitl_pages.consumers,
                *streaming_urls.consumers,
            ]
        ),
        re_path(r"", django_app),
    ]
)

application = ProtocolTypeRouter({"http": ForwardedClient(ReadPath(BodyCap(KeptHealth(_http))))})
