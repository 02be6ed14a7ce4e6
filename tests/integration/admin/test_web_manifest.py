"""The web app manifest: public, in the reader's language, and true."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from tests import factories
from tests.integration.calls import browser

PATH = "/admin/manifest.webmanifest"
pytestmark = pytest.mark.django_db


def size_of(png: Path) -> tuple[int, int]:
    """Return width and height, from the header of the file."""
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_anybody_gets_the_manifest_and_it_says_the_same_to_everybody() -> None:
    stranger = browser().get(PATH)
    operator = browser(factories.user("desk", role="admin", is_staff=True)).get(PATH)

    assert stranger.status_code == 200
    assert stranger["Content-Type"] == "application/manifest+json"
    assert stranger.content == operator.content
    assert not stranger.cookies


def test_manifest_installs_the_inbox_as_an_app_of_the_desk() -> None:
    manifest = browser().get(PATH).json()

    assert manifest["name"] == manifest["short_name"] == "Approvals"
    assert manifest["start_url"] == "/admin/hitl/approvalrequest/inbox/"
    assert (manifest["scope"], manifest["display"]) == ("/admin/", "standalone")


def test_manifest_speaks_the_readers_language() -> None:
    answer = browser().get(PATH, headers={"accept-language": "ko"})

    assert answer.json()["name"] == "승인"
    assert answer.json()["lang"] == "ko"
    assert "Accept-Language" in answer["Vary"]


def test_icons_are_there_and_as_large_as_the_manifest_says() -> None:
    icons = browser().get(PATH).json()["icons"]
    files = {icon["src"]: finders.find(icon["src"].removeprefix("/static/")) for icon in icons}

    assert None not in files.values()
    sizes = {
        "{}x{}".format(*size_of(Path(str(files[icon["src"]])))): icon["sizes"]
        for icon in icons
        if icon["type"] == "image/png"
    }
    assert sizes == {"192x192": "192x192", "512x512": "512x512"}
    assert {icon["purpose"] for icon in icons if "purpose" in icon} == {"any", "maskable"}


def test_every_page_names_the_manifest_its_colours_and_its_icon() -> None:
    client = browser(factories.user("desk", role="admin", is_staff=True))

    for page in ("/admin/hitl/approvalrequest/inbox/", "/admin/hitl/policy/", "/admin/nothing/"):
        shown = client.get(page).content.decode()
        assert f'<link rel="manifest" href="{PATH}">' in shown, page
        assert shown.count('<meta name="theme-color"') == 2, page
        assert 'rel="apple-touch-icon"' in shown, page
    assert PATH in browser().get("/admin/login/").content.decode()
