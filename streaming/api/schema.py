"""How the stream and its sessions describe themselves."""

from drf_spectacular.utils import extend_schema

cancel = extend_schema(summary="Cancel a running session")
start = extend_schema(summary="Start a session and stream it")
attach = extend_schema(summary="Stream a session")
