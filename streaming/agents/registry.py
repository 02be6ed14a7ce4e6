"""The configured agents: `DWP_AGENTS`, shaped like `CACHES`."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from streaming.agents.base import Agent

DEFAULT = "default"
# A deployment may name the demo agent by its former path; it takes the same options.
_MOVED = {"streaming.agents.builtin.BuiltinAgent": "streaming.agents.demo.DemoAgent"}


@cache
def agent(alias: str = DEFAULT) -> Agent:
    """Return the agent configured under `alias`; raises `ImproperlyConfigured`."""
    try:
        configured = settings.DWP_AGENTS[alias]
        path = configured["BACKEND"]
        backend = import_string(_MOVED.get(path, path))
    except KeyError as exc:
        raise ImproperlyConfigured(
            f"DWP_AGENTS[{alias!r}] needs a BACKEND: the dotted path of an Agent class."
        ) from exc
    except ImportError as exc:
        raise ImproperlyConfigured(f"DWP_AGENTS[{alias!r}]: {exc}.") from exc
    if not (isinstance(backend, type) and issubclass(backend, Agent)):
        raise ImproperlyConfigured(f"DWP_AGENTS[{alias!r}]: {backend!r} is no Agent class.")
    try:
        return backend(**configured.get("OPTIONS", {}))
    except (TypeError, ValueError) as exc:
        raise ImproperlyConfigured(f"DWP_AGENTS[{alias!r}]: {exc}.") from exc
