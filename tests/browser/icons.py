"""Draws the app's icons anew from `hitl/static/hitl/icon.svg`: `python -m tests.browser.icons`."""

from __future__ import annotations

import re

from playwright.sync_api import Page, sync_playwright

from tests.acceptance.server import CHECKOUT
from tests.browser.desk import executable, launched

STATIC = CHECKOUT / "hitl/static/hitl"
# File name, pixels, and whether it fills its square: launchers cut such an icon into their shape.
ICONS = (
    ("192", 192, False),
    ("512", 512, False),
    ("maskable-512", 512, True),
    ("apple-touch-180", 180, True),
)


def draw(page: Page, name: str, pixels: int, *, is_full: bool) -> None:
    svg = (STATIC / "icon.svg").read_text(encoding="utf-8")
    if is_full:
        # Without the round corners, and small enough for a circle to leave the drawing whole.
        svg = re.sub(r' rx="[0-9]+"', "", svg).replace("0 0 16 16", "-1 -1 18 18")
        [colour] = re.findall(r'<rect [^>]*fill="([^"]+)"', svg)
        page.set_content(f'<body style="margin:0;background:{colour}">{svg}</body>')
    else:
        page.set_content(f'<body style="margin:0">{svg}</body>')
    page.set_viewport_size({"width": pixels, "height": pixels})
    page.locator("svg").evaluate(
        "(svg, size) => { svg.style.cssText = `display:block;width:${size}px` }", pixels
    )
    page.screenshot(path=STATIC / f"icons/{name}.png", omit_background=True)


def main() -> None:
    (STATIC / "icons").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = launched(playwright, executable())
        page = browser.new_page()
        for name, pixels, is_full in ICONS:
            draw(page, name, pixels, is_full=is_full)
        browser.close()


if __name__ == "__main__":
    main()
