"""A row of the inbox: what it shows of a request."""

from __future__ import annotations

import pytest

from tests import factories
from tests.integration.desk.test_inbox import page, signed_in

pytestmark = pytest.mark.django_db


def test_row_shows_parameters_in_order_without_their_secrets() -> None:
    context = {"to": "a@b.c", "api_key": "sk-1", "count": 3, "e": 5, "f": 6, "g": 7}
    factories.opened(context=context)

    shown = page(signed_in())

    assert shown.index("a@b.c") < shown.index("masked by HITL_REDACT: *api_key*")
    assert "sk-1" not in shown
    assert "2 more" in shown
