"""Every text that the code marks for translation is there in Korean, compiled."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "locale/ko/LC_MESSAGES/django.po"
SOURCES = ("dwp_project", "hitl", "streaming")
_MARKED = {"_", "gettext", "gettext_lazy", "ngettext"}


def _texts_of_the_code() -> Iterator[str]:
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in _MARKED
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield str(node.args[0].value)
        for path in (ROOT / folder).rglob("*.html"):
            yield from re.findall(
                r"""{% translate ['"](.*?)['"] %}""", path.read_text(encoding="utf-8")
            )


def _translations(path: Path) -> dict[str, str]:
    """Return each text and its Korean; of a plural both first forms."""
    with path.open("rb") as file:
        catalogue = read_mo(file) if path.suffix == ".mo" else read_po(file, locale="ko")
    return {_first(message.id): _first(message.string) for message in catalogue if message.id}


def _first(forms: object) -> str:
    return forms if isinstance(forms, str) else str(next(iter(forms)))  # type: ignore[call-overload]


def test_catalogue_translates_every_marked_text() -> None:
    translated = {text for text, korean in _translations(CATALOGUE).items() if korean}
    assert set(_texts_of_the_code()) - translated == set()


def test_catalogue_holds_no_text_the_code_has_dropped() -> None:
    assert set(_translations(CATALOGUE)) - set(_texts_of_the_code()) == set()


def test_catalogue_keeps_every_placeholder() -> None:
    for text, korean in _translations(CATALOGUE).items():
        placeholders = re.findall(r"%\(\w+\)[sd]", text)
        assert sorted(re.findall(r"%\(\w+\)[sd]", korean)) == sorted(placeholders), text


def test_compiled_catalogue_is_the_one_in_the_text_file() -> None:
    assert _translations(CATALOGUE.with_suffix(".mo")) == _translations(CATALOGUE)
