"""New passwords are not weak, wherever they are set."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.management import CommandError, call_command

from dwp_project.gateway import first_run
from tests import factories
from tests.integration.calls import browser

PASSWORD = "a-Horse-on-9-stairs"
WEAK = {
    "short": "9-Hors",
    "common": "password123",
    "of digits": "90817263544536",
    "like the name": "desk-desk",
}
every_weak_one = pytest.mark.parametrize("weak", WEAK.values(), ids=WEAK.keys())


class Terminal(StringIO):
    """An input at which somebody types."""

    def isatty(self) -> bool:
        return True


@every_weak_one
@pytest.mark.django_db
def test_weak_password_is_refused_on_every_page(weak: str) -> None:
    user = factories.user("desk-desk", role="viewer", password=PASSWORD, is_staff=True)
    root = factories.user("root", is_staff=True, is_superuser=True)
    old = {"old_password": PASSWORD, "new_password1": weak, "new_password2": weak}
    new = {"password1": weak, "password2": weak, "usable_password": "true"}
    none = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}

    answers = [
        browser(user).post("/admin/password_change/", old),
        browser(root).post(f"/admin/auth/user/{user.pk}/password/", new),
        browser(root).post("/admin/auth/user/add/", {"username": "desk-desk2", **none, **new}),
    ]

    for answer in answers:
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode()
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert not User.objects.filter(username="desk-desk2").exists()


@every_weak_one
@pytest.mark.django_db(transaction=True)
def test_weak_password_is_refused_by_changepassword(
    weak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt="": weak)
    user = factories.user("desk-desk", password=PASSWORD)

    with pytest.raises(CommandError, match="Aborting password change"):
        call_command("changepassword", "desk-desk", stdout=StringIO(), stderr=StringIO())

    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@every_weak_one
@pytest.mark.django_db(transaction=True)
def test_weak_password_is_refused_by_createsuperuser(
    weak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: Iterator[str] = iter([weak, weak, PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda prompt="": next(typed))
    monkeypatch.setattr("builtins.input", lambda prompt="": "n")

    call_command(
        "createsuperuser",
        username="desk-desk",
        email="",
        verbosity=0,
        stdin=Terminal(),
        stderr=StringIO(),
    )

    assert User.objects.get().check_password(PASSWORD)


@every_weak_one
@pytest.mark.django_db(transaction=True)
def test_weak_password_is_refused_by_createsuperuser_where_nobody_types(
    weak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"username": "desk-desk", "email": "", "interactive": False, "verbosity": 0}
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", weak)

    with pytest.raises(CommandError, match=r"[Tt]his password|The password"):
        call_command("createsuperuser", **arguments)
    assert not User.objects.exists()

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", **arguments)
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.django_db
def test_password_of_the_first_run_is_not_weak(tmp_path: Path) -> None:
    operator = first_run.ensure_operator(tmp_path)

    assert operator is not None
    assert operator.password is not None
    validate_password(operator.password, User.objects.get())


@pytest.mark.django_db
def test_weak_password_of_before_still_signs_in() -> None:
    factories.user("desk", role="viewer", password="1", is_staff=True)

    answer = browser().post("/admin/login/?next=/admin/", {"username": "desk", "password": "1"})

    assert answer.status_code == 302
