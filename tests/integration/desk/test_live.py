"""Telling the desk's pages: harmless with Redis away, and under names that any tenant fits."""

from __future__ import annotations

import pytest

from dwp_project import wakeup
from hitl.delivery import live
from tests import factories


@pytest.mark.django_db
def test_telling_with_redis_away_does_no_harm(redis_away: None) -> None:
    request = factories.opened()

    live.tell(request)

    # And the next decision does not wait for the next failure.
    assert wakeup.is_paused()
    live.tell(request)


def test_groups_have_names_that_any_tenant_fits_into() -> None:
    names = {live.group_of(tenant) for tenant in ("a", "b", "테넌트 1", "x" * 255, "a b/c")}

    assert len(names) == 5
    assert all(name.isascii() and len(name) < 100 for name in names)
