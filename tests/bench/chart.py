"""Draws latency against open streams, with the browser that the tests of the desk have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.browser.desk import executable, launched

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 50, 50
_COLOURS = {"p50": "#1565c0", "p99": "#c62828"}


def draw(points: Sequence[tuple[int, float, float]], path: Path) -> None:
    """Write a PNG; without a browser, say so."""
    page_text = f"<body style='margin:0'>{_svg(points)}</body>"
    try:
        with sync_playwright() as playwright:
            browser = launched(playwright, executable())
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
            page.set_content(page_text)
            page.screenshot(path=path)
            browser.close()
    except Error as exc:
        print(f"No picture was drawn: {exc.message.splitlines()[0]}")


def _svg(points: Sequence[tuple[int, float, float]]) -> str:
    most = max(streams for streams, _, _ in points) or 1
    top = _step(max(late for _, _, late in points)) * 5

    def x(streams: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * streams / most

    def y(delay: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * delay / top

    parts = [_text(_LEFT, 24, "Decision → the waiting stream's next event, in ms", "start", 16)]
    for number in range(6):
        delay = top * number / 5
        parts.append(
            f"<path d='M{_LEFT} {y(delay)}H{_WIDTH - _RIGHT}' stroke='#ddd'/>"
            + _text(_LEFT - 8, y(delay) + 4, f"{delay:g}", "end")
        )
    for streams, _, _ in points:
        parts.append(_text(x(streams), _HEIGHT - _BOTTOM + 20, str(streams), "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 8, "open streams", "middle"))
    for number, (name, colour) in enumerate(_COLOURS.items(), start=1):
        places = [(x(point[0]), y(point[number])) for point in points]
        line = " ".join(f"{left:.1f},{high:.1f}" for left, high in places)
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [
            f"<circle cx='{left}' cy='{high}' r='3' fill='{colour}'/>" for left, high in places
        ]
        parts.append(_text(_WIDTH - _RIGHT - 50 * (3 - number) + 50, 24, name, "end", 16, colour))
    body = "".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' "
        f"style='background:#fff;display:block' font-family='sans-serif'>{body}</svg>"
    )


def _step(most: float) -> float:
    """Return a round number of which five are at least `most`."""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if factor * size * 5 >= most:
                return factor * size
        size *= 10


def _text(x: float, y: float, text: str, anchor: str, size: int = 12, colour: str = "#333") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' "
        f"fill='{colour}'>{text}</text>"
    )
