"""Every page at every width, light and dark, English and Korean, as pictures to look at: nothing is
wider than the screen, axe finds nothing, and the Content-Security-Policy has nothing to report."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize

from tests.browser.desk import SCREENSHOTS, Desk, Operator, served
from tests.browser.gallery import LEAVERS, PAGES, Gallery, GalleryPage, furnish

# The width and height of each window; the narrow one is a phone's.
WIDTHS = {1366: 860, 1920: 1080, 1024: 768, 360: 780}
PHONE = 360
# Where a page is laid out in another way; a theme changes colours and nothing else.
AXE_WIDTHS = (360, 1366)
VISITS = (("light", "en"), ("dark", "ko"), ("light", "ko"), ("dark", "en"))
FOLDER = SCREENSHOTS / "gallery"
# Chosen: pixels of a long page that are worth a look.
MAX_HEIGHT = 2400
# Rows of long lists are alike, and axe takes long for each.
ALIKE = [
    "#rows > .row:nth-child(n + 14)",
    "#result_list tbody tr:nth-child(n + 6)",
    ".book-records tbody tr:nth-child(n + 6)",
]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Gallery]:
    """Return a desk of its own, on which nobody but this file works."""
    with served(tmp_path_factory.mktemp("gallery") / "data") as desk:
        yield furnish(desk)
        assert desk.server.stop() == 0, desk.server.output


@pytest.fixture(scope="module")
def desk(gallery: Gallery) -> Desk:
    return gallery.desk


@pytest.mark.parametrize(("theme", "language"), VISITS)
def test_every_page_can_be_read_at_every_width(
    gallery: Gallery, operator: Callable[..., Operator], theme: str, language: str
) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    look: dict[str, Any] = {
        "color_scheme": theme,
        "locale": {"en": "en-US", "ko": "ko-KR"}[language],
    }
    phone = {"is_mobile": True, "has_touch": True, "viewport": size(PHONE)}
    leavers = iter(LEAVERS[2 * VISITS.index((theme, language)) :])
    faults: list[str] = []
    for is_phone in (False, True):
        visitor = operator(**look, **(phone if is_phone else {}))
        devtools = visitor.context.new_cdp_session(visitor.page)
        widths = [width for width in WIDTHS if (width == PHONE) is is_phone]
        visit = f"{theme}-{language}{'-phone' if is_phone else ''}"
        leaver = next(leavers)
        for shown in PAGES:
            if language not in shown.languages:
                continue
            visitor.page.set_viewport_size(size(widths[0]))
            lead_to(shown, visitor, gallery, visit, leaver)
            for width in widths:
                visitor.page.set_viewport_size(size(width))
                found = too_wide(visitor.page)
                shoot(visitor.page, devtools, f"{shown.name}-{width}-{theme}-{language}")
                if width in AXE_WIDTHS:
                    found += axe(visitor.page, *(["color-contrast"] if theme == "dark" else []))
                faults += [f"{shown.name}-{width}: {fault}" for fault in found]
            visitor.assert_no_complaint()

    assert not faults, "\n".join(faults)


def size(width: int) -> ViewportSize:
    return {"width": width, "height": WIDTHS[width]}


def lead_to(
    shown: GalleryPage, visitor: Operator, gallery: Gallery, visit: str, leaver: str
) -> None:
    """Open the page as its user."""
    visitor.context.clear_cookies()
    path = shown.path.format(**gallery.addresses)
    if shown.user:
        visitor.sign_in(leaver if shown.user == "leaver" else shown.user, page=path)
    else:
        visitor.open(path)
    if shown.act is not None:
        shown.act(visitor, gallery, visit)
    visitor.page.wait_for_selector(shown.shows)


def shoot(page: Page, devtools: CDPSession, name: str) -> None:
    """Keep a picture of the page, which `Page.screenshot` takes three times as long for."""
    window = page.viewport_size
    assert window is not None
    height = page.evaluate("document.documentElement.scrollHeight")
    if height > window["height"]:
        page.set_viewport_size({**window, "height": min(height, MAX_HEIGHT)})
    picture = devtools.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
    (FOLDER / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))


def too_wide(page: Page) -> list[str]:
    """Return that the page is wider than the screen, if it is."""
    content, screen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    return [f"{content} px wide in {screen}"] if content > screen else []


def axe(page: Page, *rules: str) -> list[str]:
    """Return every violation that axe finds, also minor ones; of `rules` alone, if any."""
    # Without its preload, which styles the page inline.
    options: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found = Axe().run(page, context={"exclude": ALIKE}, options=options).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
