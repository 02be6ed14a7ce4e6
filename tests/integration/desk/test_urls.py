"""The desk's paths outside Django's views: every one is under /admin/ and for operators only."""

from __future__ import annotations

import pytest

from hitl.desk import urls
from tests.integration.exchange import call


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_no_path_of_the_desk_answers_a_stranger() -> None:
    assert len(urls.consumers) == 5
    for path, methods, _consumer in urls.consumers:
        assert path.startswith("admin/")
        for method in methods:
            answer = await call(method, "/" + path.replace("<int:pk>", "1"))
            assert answer.status in (403, 404), path
