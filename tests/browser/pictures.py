"""Takes the pictures of the README anew, of the desk in the gallery: `make pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from tests.acceptance.server import CHECKOUT
from tests.browser.desk import INBOX, Operator, executable, launched, served
from tests.browser.gallery import MAIN, furnish

IMAGES = CHECKOUT / "docs/images"
SIZE: ViewportSize = {"width": 1366, "height": 860}


def main() -> None:
    """Write `docs/images/inbox.png` and `docs/images/request.png`."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launched(playwright, executable())
        with served(Path(folder) / "data") as desk:
            gallery = furnish(desk)
            context = browser.new_context(viewport=SIZE, locale="en-US", color_scheme="light")
            operator = Operator(desk, context)
            operator.sign_in(MAIN)
            operator.page.screenshot(path=IMAGES / "inbox.png", animations="disabled")
            operator.open(gallery.addresses["payment"])
            operator.ready()
            operator.page.screenshot(path=IMAGES / "request.png", animations="disabled")
            operator.assert_no_complaint()
            assert INBOX in operator.page.content()
        browser.close()


if __name__ == "__main__":
    main()
