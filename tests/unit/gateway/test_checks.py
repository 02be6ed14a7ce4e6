"""System checks where a server runs none by itself."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from dwp_project.gateway.checks import refuse_unsafe_start


def test_start_that_is_safe_is_not_refused() -> None:
    refuse_unsafe_start()


def test_unsafe_start_is_refused_with_every_error(settings: Settings) -> None:
    settings.DWP_AGENTS = {"other": {"BACKEND": "nobody.home.Agent", "OPTIONS": {}}}
    settings.AUDIT_TRUSTED_KEYS = ["/nonexistent/keys"]

    with pytest.raises(ImproperlyConfigured) as caught:
        refuse_unsafe_start()

    assert "DWP_AGENTS['other']" in str(caught.value)
    assert "/nonexistent/keys" in str(caught.value)
