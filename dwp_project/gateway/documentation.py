"""`/schema/` and `/docs/`: the API description and the page to read it in, offline."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any, ClassVar

from django.utils import translation
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import extend_schema_view
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import BaseRenderer, JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project.gateway.openapi import answer, operation
from dwp_project.gateway.views import PublicView

_generating = Lock()


@cache
def _generated() -> dict[str, Any]:
    with translation.override("en"):
        generator = spectacular_settings.DEFAULT_GENERATOR_CLASS()
        return dict(generator.get_schema(public=True))


def document() -> dict[str, Any]:
    """Return the OpenAPI document, generated once per process, as it depends on the code alone."""
    # One thread at a time: the generator keeps its state in the views.
    with _generating:
        return _generated()


@extend_schema_view(
    get=operation(
        "Description",
        "This document",
        "The OpenAPI document you are reading, as JSON whatever `Accept` says. `/docs/` shows "
        "it as a page.",
        operation_id="get_schema",
        answers={200: answer("The document.", {"type": "object"})},
        raised=(),
        is_public=True,
    )
)
class SchemaView(PublicView):
    """`/schema/`: the document as plain JSON, without the envelope."""

    renderer_classes: ClassVar[list[type[BaseRenderer]]] = [JSONRenderer]  # type: ignore[misc]

    def get(self, request: Request) -> Response:
        return Response(document())


class DocsView(PublicView, SpectacularSwaggerSplitView):
    """`/docs/`: a page for people. All its assets are served from here, and no script or style is
    inline."""

    template_name = "gateway/docs.html"
    # Relative too: the page's own script.
    url_self = "?script"

    # Relative, so that it works from `/docs/` and from `/api/docs/`.
    url = "../schema/"

    def get_renderers(self) -> list[BaseRenderer]:
        is_page = self.request.method in ("GET", "HEAD")
        return [TemplateHTMLRenderer() if is_page else JSONRenderer()]
