"""A server for the whole run, and servers of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.app_server import AppServer
from tests.acceptance.server import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return the server that tests share; how it ends is a promise too."""
    running = RunningServer(tmp_path_factory.mktemp("server") / "data")
    try:
        yield running.start()
        assert running.stop() == 0, running.output
        assert not running.has_redis()
    finally:
        running.end()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Return a maker of servers that are not started; takes `ports`, `env`, `data_dir`."""
    made: list[RunningServer] = []

    def make(data_dir: Path | None = None, **options: object) -> RunningServer:
        made.append(RunningServer(data_dir or tmp_path / "data", **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="session")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """Return a server of `failing_app` that no test may end."""
    with AppServer(tmp_path_factory.mktemp("app")) as running:
        yield running
        assert running.process.poll() is None


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AppServer]:
    """Return a server of `failing_app`: the shared one, unless the test asks for options."""
    if not (options := getattr(request, "param", ())):
        yield request.getfixturevalue("shared_app")
        return
    with AppServer(tmp_path, *options) as running:
        yield running


@pytest.fixture
def own_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AppServer]:
    """Return a server of `failing_app` that the test may end."""
    with AppServer(tmp_path, *getattr(request, "param", ())) as running:
        yield running
