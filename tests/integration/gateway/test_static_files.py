"""Which names pages give to static files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from pytest_django import Settings

from dwp_project.gateway.static_files import CollectedFiles

NAME = "hitl/desk.css"


@pytest.fixture
def deployed(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """Return the folder of collected files of a deployed process."""
    settings.IS_DEVELOPMENT = False
    settings.STATIC_ROOT = str(tmp_path / "static")
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]
    yield tmp_path / "static"
    finders.get_finder.cache_clear()  # type: ignore[attr-defined]


def test_files_that_were_not_collected_keep_their_names(deployed: Path) -> None:
    assert CollectedFiles().url(NAME) == f"/static/{NAME}"


def test_collected_files_have_hashed_names_until_an_installed_file_differs(
    deployed: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This project's alone: all others take seconds.
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATICFILES_DIRS = [settings.BASE_DIR / "hitl/static"]
    call_command("collectstatic", interactive=False, verbosity=0)
    hashed = CollectedFiles().url(NAME)
    settings.IS_DEVELOPMENT = True
    in_development = CollectedFiles().url(NAME)
    settings.IS_DEVELOPMENT = False
    (deployed / NAME).write_text("of the version before", encoding="utf-8")

    assert hashed.startswith("/static/hitl/desk.")
    assert hashed != f"/static/{NAME}"
    assert in_development == f"/static/{NAME}"
    assert CollectedFiles().url(NAME) == f"/static/{NAME}"
    assert CollectedFiles().url("nowhere.css") == "/static/nowhere.css"
