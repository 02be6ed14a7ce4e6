"""Writes and reads the records of an export's file, as JSONL or CSV.

The file is a ZIP of records, a manifest and its signature. Needs no database and no settings.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from dwp_project.jsontext import canonical
from hitl.audit.hashing import FACTS

KIND = "dwp-audit-export"
FORM = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
# The manifest's member that names acknowledged breaks, and the event of the records behind them.
# Exports without any have no such member.
BREAKS = "acknowledgedBreaks"
BREAK_EVENT = "audit:break_acknowledged"
COLUMNS = (*FACTS, "hash")
_NUMBERS = frozenset({"form", "sequence"})
# Beginnings that a spreadsheet takes for a formula, full-width forms included, and the mark
# itself, so that removing the mark gives back the cell.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
_MARK = "'"
# Chosen: several times the longest record, whose reason has at most 10,000 characters (wire.md, 3).
_MAX_LINE_BYTES = 512 * 1024
# The digits of the largest BigIntegerField.
_MAX_DIGITS = 19


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


class Unreadable(ValueError):
    """The file is not a complete, unchanged export; the message says why."""


def content_name(form: Format) -> str:
    """Return the name of the member that holds the records."""
    return f"records.{form.value}"


def heading(form: Format) -> bytes:
    """Return the bytes before the first record: the columns' names in CSV, none in JSONL."""
    return _row(COLUMNS) if form is Format.CSV else b""


def line(record: dict[str, Any], form: Format) -> bytes:
    """Return the line of one record, given as its facts and `hash`."""
    if form is Format.JSONL:
        return canonical(record).encode() + b"\n"
    return _row([escaped(str(record.get(name, ""))) for name in COLUMNS])


def escaped(cell: str) -> str:
    """Return the cell, with ' before it if a spreadsheet could run it as a formula."""
    return _MARK + cell if cell.startswith(_FORMULA) else cell


def unescaped(cell: str) -> str:
    """Return the cell that `escaped` was called with."""
    return cell.removeprefix(_MARK)


def records(file: io.BufferedIOBase, form: Format) -> Iterator[dict[str, Any]]:
    """Yield the records of an export's content, one at a time; raises `Unreadable`."""
    yield from _from_jsonl(file) if form is Format.JSONL else _from_csv(file)


def _from_jsonl(file: io.BufferedIOBase) -> Iterator[dict[str, Any]]:
    for raw in _lines(file):
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise Unreadable("a line of the records is no JSON") from exc
        if not isinstance(record, dict):
            raise Unreadable("a line of the records is no object")
        yield record


def _lines(file: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield lines; raises `Unreadable` for one that is longer than any record."""
    while raw := file.readline(_MAX_LINE_BYTES):
        # A ZIP member may return somewhat more than it was asked for.
        if len(raw) >= _MAX_LINE_BYTES and not raw.endswith(b"\n"):
            raise Unreadable("a line of the records is too long to be one")
        yield raw


def _from_csv(file: io.BufferedIOBase) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_MAX_LINE_BYTES)
    rows = csv.reader(_short_rows(file))
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise Unreadable("the first line of the records does not name the columns")
        for row in rows:
            yield _parse_row(row)
    except (csv.Error, UnicodeDecodeError) as exc:
        raise Unreadable("the records are no CSV") from exc


def _short_rows(file: io.BufferedIOBase) -> Iterator[str]:
    """Yield the lines of a CSV; raises `Unreadable` for a row of more lines than any record has.

    A cell in quotes may hold line ends, so that one row could go on for the whole file.
    """
    size, is_in_quotes = 0, False
    for raw in _lines(file):
        size += len(raw)
        if size > _MAX_LINE_BYTES:
            raise Unreadable("a row of the records is too long to be one")
        is_in_quotes ^= raw.count(b'"') % 2 == 1
        size = size if is_in_quotes else 0
        yield raw.decode()


def _parse_row(row: list[str]) -> dict[str, Any]:
    if len(row) != len(COLUMNS):
        raise Unreadable("a line of the records has not as many cells as there are columns")
    record: dict[str, Any] = dict(zip(COLUMNS, map(unescaped, row), strict=True))
    for name in _NUMBERS:
        number = record[name]
        if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS):
            raise Unreadable(f"{name} of a record is no number")
        record[name] = int(record[name])
    # Form 1 has no action: the empty cell was never hashed.
    if record["form"] == 1 and not record["action"]:
        del record["action"]
    return record


def _row(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
