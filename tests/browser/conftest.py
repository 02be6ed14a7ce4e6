"""A server, a browser and operators for the run; skipped where there is no Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

pytest.register_assert_rewrite("tests.browser.desk")

# ruff: noqa: E402 - after the line above
from tests.acceptance.server import RunningServer
from tests.browser.desk import Desk, Operator, executable, launched

PEOPLE = (
    ("kim", {"tenant1": "approver"}),
    ("head", {"tenant1": "admin"}),
    ("lee", {"tenant1": "approver", "tenant2": "approver"}),
    ("viewer", {"tenant1": "viewer"}),
    ("leaver", {"tenant1": "approver"}),
    ("rising", {"tenant1": "viewer"}),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that server and browser take to start."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))


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
    running = RunningServer(tmp_path_factory.mktemp("desk") / "data")
    try:
        office = Desk(running.start())
        office.people(*PEOPLE)
        yield office
        assert running.stop() == 0, running.output
    finally:
        running.end()


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
