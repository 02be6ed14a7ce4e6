"""What a text from outside is: a time, a diff, code, JSON, Markdown or prose. A guess that decides
only how it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from dwp_project.jsontext import InvalidJSON, parse

# Chosen: what is read of a long text to tell its kind.
_SAMPLED_CHARACTERS = 20_000
_SAMPLED_LINES = 200
# Chosen: a longer text is not offered as formatted. It also bounds what formatting costs.
MAX_MARKDOWN_CHARACTERS = 10_000

# What agents call members that hold code.
_NAME_OF_CODE = re.compile(
    r"(?:^|[_\-.\s])(?:code|command|cmd|diff|html|logs?|patch|query|regex|script|snippet|sql|stderr|"
    r"stdout|toml|traceback|xml|yaml)$|"
    r"[a-z](?:Code|Command|Cmd|Diff|Html|Logs?|Patch|Query|Regex|Script|Snippet|Sql|SQL|Xml|Yaml)$"
)
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)
_DIFF = re.compile(r"^diff --git |^--- .*\n\+\+\+ ", re.MULTILINE)
_SQL = re.compile(
    r"\s*(?:(?:SELECT|WITH|EXPLAIN)\b.*\bFROM\b|INSERT\s+INTO\b|UPDATE\b.*\bSET\b|DELETE\s+FROM\b|"
    r"(?:CREATE|ALTER|DROP|TRUNCATE)\s+(?:TABLE|INDEX|VIEW|DATABASE|SCHEMA|USER|ROLE)\b|"
    r"(?:GRANT|REVOKE)\b.*\bON\b)",
    re.DOTALL | re.IGNORECASE,
)
# A sentence may begin "Select the file from"; SQL has one of these as well, or capitals.
_SQL_SIGN = re.compile(r"[=*;(),]|\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT)\b")
_LOG_LINE = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d|\[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|"
    r"FATAL|CRITICAL)\b|\w{3} +\d{1,2} \d\d:\d\d:\d\d "
)
_CODE_LINE = re.compile(
    r"#!|(?:def|class|import|from|function|const|let|var|public|private|static|package|func|fn|"
    r"use|using|return|export|async|if|for|while|try|except|catch|else)\b.*[:;{(]\s*$|"
    r"import \w|from \S+ import |#include\b|</?[A-Za-z][^<>]*>\s*$|\$ \S|"
    r".*[;{}]\s*$|\w+\s*=\s*\S|Traceback \(|  File \""
)
_INDENTED = re.compile(r"(?: {2,}|\t)\S")
_COLUMNS = re.compile(r"\S(?: {3,}|\t+)\S")
_BULLET = re.compile(r" *(?:[-*+•]|\d{1,3}[.)]) ")

_MARKDOWN_BLOCK = re.compile(
    r"^ {0,3}(?:#{1,6} \S|```|~~~|> |(?:[-*+]|\d{1,3}[.)]) \S|\|.*\|[ \t]*$)", re.MULTILINE
)
_MARKDOWN_SPAN = re.compile(
    r"\*\*[^*\s][^*\n]{0,200}\*\*|__[^_\s][^_\n]{0,200}__|!?\[[^\[\]\n]{1,200}\]\([^()\s]{1,300}|"
    r"`[^`\n]{1,200}`"
)
_HEADING = re.compile(r"\s*#{1,6} \S")
_MARKDOWN_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
)


class TextKind(Enum):
    """How a text is shown."""

    PROSE = "prose"
    CODE = "code"
    DIFF = "diff"


def kind_of(text: str, name: str = "") -> TextKind:
    """Return the kind of a text that is the value of the member `name`."""
    sample = text[:_SAMPLED_CHARACTERS]
    if _HUNK.search(sample) or (_DIFF.search(sample) and _has_changed_lines(sample)):
        return TextKind.DIFF
    if _NAME_OF_CODE.search(name) or (_SQL.match(sample) and _SQL_SIGN.search(sample)):
        return TextKind.CODE
    return TextKind.CODE if _looks_like_code(sample) else TextKind.PROSE


def json_in(text: str) -> Any:
    """Return the object or list that a text is the JSON of, its numbers as they are written; None
    if it is not, or is empty."""
    first, last = text.lstrip()[:1], text.rstrip()[-1:]
    if (first, last) not in (("{", "}"), ("[", "]")):
        return None
    try:
        value = parse(text, is_as_written=True)
    except InvalidJSON:
        return None
    return value if isinstance(value, Mapping | list) and value else None


def moment_in(text: str) -> datetime | None:
    """Return the moment that a text is the ISO 8601 form of, if that names its zone."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    # Further years overflow in another zone.
    return moment if 1900 <= moment.year <= 9000 else None


def is_markdown(text: str, kind: TextKind) -> bool:
    """Say whether a text looks like Markdown. Of code, whose `#` and `*` mean other things, only
    with a fence or with several signs."""
    if kind is TextKind.DIFF or len(text) > MAX_MARKDOWN_CHARACTERS:
        return False
    blocks = len(_MARKDOWN_BLOCK.findall(text))
    spans = len(_MARKDOWN_SPAN.findall(text))
    if kind is TextKind.CODE:
        return _MARKDOWN_FENCE.search(text) is not None or (blocks > 1 and spans > 1)
    return spans > 0 or blocks > 1 or _HEADING.match(text) is not None


def _has_changed_lines(text: str) -> bool:
    return any(line.startswith(("+", "-", "new file", "rename ")) for line in text.split("\n"))


def _looks_like_code(text: str) -> bool:
    if text.startswith("#!"):
        return True
    lines = [line for line in text.split("\n")[:_SAMPLED_LINES] if line.strip()]
    if len(lines) < 2:
        return False
    bullets = [line for line in lines if _BULLET.match(line)]
    # What is indented below a bullet is the rest of its item.
    if not bullets and any(_INDENTED.match(line) for line in lines):
        return True
    signs = sum(
        1 for line in lines if _LOG_LINE.match(line) or _CODE_LINE.match(line) or _is_table(line)
    )
    return signs >= 2 and signs * 2 >= len(lines)


def _is_table(line: str) -> bool:
    return _COLUMNS.search(line) is not None
