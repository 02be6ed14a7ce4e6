"""The glossary has every word that a module or a class bears, and leads to where it lives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs/reference/glossary.md"
PACKAGES = ("dwp_project", "hitl", "streaming")
_ROW = re.compile(r"^\| (\*\*.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
# `JSONOnly` is "json" and "only", `HttpConsumer` is "http" and "consumer".
_CLASS_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]+")
_EXCEPTIONS = {"BaseException", "Exception", "ImproperlyConfigured"}


def rows() -> list[tuple[str, str, str]]:
    """Return the rows of the glossary's tables: terms, meaning, place."""
    return _ROW.findall(GLOSSARY.read_text(encoding="utf-8"))


def words_of(terms: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", terms.lower()))


def is_known(word: str, glossary: set[str]) -> bool:
    """Say whether the glossary has the word, or the one of which it is the plural."""
    singulars = {word.removesuffix("s"), re.sub("ies$", "y", word)}
    return word in glossary or not singulars.isdisjoint(glossary)


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.relative_to(ROOT).parts:
                yield path.relative_to(ROOT)


def words_of_module(path: Path) -> set[str]:
    names = [part for part in path.with_suffix("").parts if part != "__init__"]
    return {word for name in names for word in name.split("_") if word}


def classes(sources: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of all classes, each with the names of its bases."""
    found: dict[str, set[str]] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                bases = (
                    re.sub(r"\[.*", "", ast.unparse(base), flags=re.DOTALL) for base in node.bases
                )
                found.setdefault(node.name, set()).update(base.split(".")[-1] for base in bases)
    return found


def is_exception(name: str, bases: Mapping[str, set[str]]) -> bool:
    """Say whether a class is an exception; of those from elsewhere the name says it."""
    if name not in bases:
        return name in _EXCEPTIONS or name.endswith("Error")
    return any(is_exception(base, bases) for base in bases[name] - {name})


def words_of_class(name: str) -> set[str]:
    return {word.lower() for word in _CLASS_WORD.findall(name)}


def missing(words: Mapping[str, set[str]]) -> list[str]:
    """Say which words of the named modules or classes the glossary lacks."""
    glossary = {word for terms, _, _ in rows() for word in words_of(terms)}
    return [
        f"{name}: {word}"
        for name in sorted(words)
        for word in sorted(words[name])
        if not is_known(word, glossary)
    ]


def test_every_word_of_a_module_is_in_the_glossary() -> None:
    words = {path.as_posix(): words_of_module(path) for path in modules()}
    assert len(words) > 100
    assert "\n".join(missing(words)) == ""


def test_every_word_of_a_class_is_in_the_glossary_unless_it_is_an_exception() -> None:
    bases = classes((ROOT / path).read_text(encoding="utf-8") for path in modules())
    words = {name: words_of_class(name) for name in bases if not is_exception(name, bases)}
    assert len(words) > 100
    assert "\n".join(missing(words)) == ""


def test_exceptions_are_known_by_their_bases() -> None:
    bases = classes(
        [
            "class DwpError(Exception): ...",
            "class Conflict(DwpError): ...",
            "class Taken(errors.Conflict): ...",
            "class Timeout(asyncio.TimeoutError): ...",
            "class ErrorCode(NamedTuple): ...",
            "class Rows(QuerySet[Error]):\n    class Meta: ...",
        ]
    )
    assert [name for name in bases if is_exception(name, bases)] == [
        *("DwpError", "Conflict", "Taken", "Timeout")
    ]


def test_words_are_cut_where_names_are() -> None:
    assert words_of_module(Path("hitl/audit/__init__.py")) == {"hitl", "audit"}
    assert words_of_module(Path("hitl/foo_helper.py")) == {"hitl", "foo", "helper"}
    assert words_of_class("JSONOnly") == {"json", "only"}
    assert words_of_class("_HttpConsumer") == {"http", "consumer"}
    assert is_known("policies", {"policy"})
    assert is_known("checks", {"check"})
    assert not is_known("helper", {"help"})


def test_no_word_is_explained_twice() -> None:
    terms = [term for terms, _, _ in rows() for term in re.findall(r"\*\*(.+?)\*\*", terms)]
    assert sorted(terms) == sorted(set(terms))


def test_every_table_is_in_alphabetical_order() -> None:
    for table in re.split(r"^## ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE):
        terms = re.findall(r"^\| \*\*(.+?)\*\*", table, re.MULTILINE)
        assert terms == sorted(terms, key=lambda term: term.lower().replace("-", " "))


def test_every_word_leads_to_a_file_or_folder() -> None:
    paths = {path for _, _, place in rows() for path in re.findall(r"`([^`]+)`", place)}
    there = {path for path in paths if (ROOT / path).exists()}
    assert len(paths) > 100
    assert sorted(paths - there) == []
