"""A server, a browser and operators for the run; skipped where there is no Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

pytest.register_assert_rewrite("tests.browser.desk")

# ruff: noqa: E402 - after the line above
from tests.browser.desk import Desk, Operator, executable, launched, served

PEOPLE = (
    ("kim", {"tenant1": "approver"}),
    ("head", {"tenant1": "admin"}),
    ("lee", {"tenant1": "approver", "tenant2": "approver"}),
    ("viewer", {"tenant1": "viewer"}),
    ("leaver", {"tenant1": "approver"}),
    ("rising", {"tenant1": "viewer"}),
)


# What looks at the same pages once more: at other widths, for longer, or for a picture of each.
# `make test-desk` runs it as well.
_LOOKS_ONCE_MORE = {
    "test_gallery.py": "",
    "test_inbox.py": "hundred_|1024|1920",
    "test_decide.py": "-60]|-250]",
    "test_admin.py": "1024|1920",
    "test_outcome.py": "1024|1920|360-light|1366-dark",
    "test_reading.py": "1024|1920|2560",
    "test_risk.py": "1024|1920",
    "test_any_text.py": "conjunct",
    "test_phone.py": "320]",
    "test_board.py": "comes_back[ko-KR]",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the first test the time that server and browser take to start, and leave out what only
    `DESK=all` asks for."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))
    if os.environ.get("DESK") != "all":
        left_out = [item for item in items if _looks_once_more(item)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _looks_once_more(item: pytest.Item) -> bool:
    names = _LOOKS_ONCE_MORE.get(item.path.name)
    is_here = item.path.parent == Path(__file__).parent
    if names is None or not is_here:
        return False
    return any(name in item.name for name in names.split("|"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Return the system's Chromium."""
    program = executable()
    if not program:
        pytest.skip("no Chromium on this machine: install chromium, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = launched(playwright, program)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Desk]:
    """Return the desk of a real server, with its people."""
    with served(tmp_path_factory.mktemp("desk") / "data") as office:
        office.people(*PEOPLE)
        yield office
        assert office.server.stop() == 0, office.server.output


@pytest.fixture
def operator(desk: Desk, chromium: Browser) -> Iterator[Callable[..., Operator]]:
    """Return a function that opens a browser window, with options of Playwright's contexts."""
    windows: list[Operator] = []

    def make(**options: Any) -> Operator:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **options}
        windows.append(Operator(desk, chromium.new_context(**options)))
        return windows[-1]

    yield make
    for window in windows:
        try:
            window.assert_no_complaint()
        finally:
            window.context.close()


@pytest.fixture(autouse=True)
def _an_empty_inbox(desk: Desk) -> Iterator[None]:
    """Cancel all pending requests after each test."""
    yield
    desk.withdraw_all()
