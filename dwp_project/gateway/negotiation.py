"""JSON, whatever a client says it accepts or sends."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from dwp_project.jsontext import compact

# As DRF's own renderer writes them, which deployed clients have always been sent.
_ESCAPED = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})


class JSONOnly(BaseContentNegotiation):
    """Answer in JSON whatever `Accept` says: deployed clients send all sorts of it."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser:
        return parsers[0]  # type: ignore[no-any-return]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class CompactRenderer(JSONRenderer):
    """DRF's renderer, to the byte, but that it changes no number (`jsontext.ExactNumber`)."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Any = None,
    ) -> bytes:
        return b"" if data is None else compact(data).translate(_ESCAPED).encode()
