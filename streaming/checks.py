"""System checks of the configured agents."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from streaming.agents import registry


@register
def agents_are_usable(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Report every agent of `DWP_AGENTS` that cannot be created, and a missing default."""
    errors: list[CheckMessage] = []
    if registry.DEFAULT not in settings.DWP_AGENTS:
        errors.append(
            Error(
                "DWP_AGENTS has no 'default'.",
                hint="Streams use the agent of that name.",
                id="streaming.E001",
            )
        )
    for alias in settings.DWP_AGENTS:
        try:
            registry.agent(alias)
        except ImproperlyConfigured as exc:
            errors.append(Error(str(exc), id="streaming.E002"))
    return errors
