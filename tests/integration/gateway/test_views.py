"""The page for people when something has failed: it says what is certain, and leads back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory
from django.utils import translation

from dwp_project.gateway.errors import DatabaseAway, DwpError, Overloaded
from dwp_project.gateway.views import unavailable
from hitl import services
from tests import factories

LIST = "/admin/hitl/approvalrequest/"
UNCERTAIN = {
    "en": "Whether your decision was stored is not certain",
    "ko": "결정이 저장되었는지 확실하지 않습니다",
}


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(("failure", "status"), [(OperationalError, 503), (ValueError, 500)])
def test_decision_that_failed_may_be_stored_and_leads_back_to_the_request(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception], status: int, language: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise failure("it broke")

    monkeypatch.setattr(services, "approve", fail)
    request = factories.opened()
    client = Client(raise_request_exception=False)
    client.force_login(factories.user("desk", role="approver", is_staff=True))
    form = {"approve": "1", "digest": request.context_digest}

    answer = client.post(
        f"{LIST}{request.pk}/decide/?view=tenant%3Dtenant1",
        form,
        headers={"accept-language": language},
    )

    page = answer.content.decode()
    assert answer.status_code == status
    assert UNCERTAIN[language] in page
    assert f'href="{LIST}{request.pk}/change/?view=tenant%3Dtenant1" autofocus' in page
    assert f'href="{LIST}inbox/"' in page
    assert "hitl/desk" in page
    assert "unavailable.js" in page


@pytest.mark.django_db
@pytest.mark.parametrize("error", [DatabaseAway, DwpError, Overloaded])
@pytest.mark.parametrize("path", [f"{LIST}7/decide/", f"{LIST}many/?q=a", f"{LIST}inbox/"])
def test_page_asks_the_database_nothing(
    django_assert_num_queries: Any, error: type[DwpError], path: str
) -> None:
    with django_assert_num_queries(0):
        answer = unavailable(error(), RequestFactory().post(path))

    assert answer.status_code == error().code.status


def test_many_that_failed_lead_back_to_the_inbox_as_it_was_filtered() -> None:
    page = unavailable(DatabaseAway(), RequestFactory().post(f"{LIST}many/?q=a")).content.decode()

    assert f'href="{LIST}inbox/?q=a" autofocus' in page
    assert UNCERTAIN["en"] in page


def test_overload_is_certain_to_have_done_nothing() -> None:
    page = unavailable(Overloaded(), RequestFactory().post(f"{LIST}7/decide/")).content.decode()

    assert "nothing was done" in page
    assert UNCERTAIN["en"] not in page


def test_page_that_was_only_read_is_tried_again() -> None:
    page = unavailable(DatabaseAway(), RequestFactory().get(f"{LIST}inbox/?q=a")).content.decode()

    assert f'href="{LIST}inbox/?q=a" autofocus' in page
    assert "certain" not in page
    assert "unavailable.js" not in page
