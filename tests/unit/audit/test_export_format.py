"""What an export's records look like, and that they come back as they were."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl.audit import export_format
from hitl.audit.export_format import Format, Unreadable
from hitl.audit.hashing import FACTS, hash_of_facts

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def record(**values: Any) -> dict[str, Any]:
    facts = dict.fromkeys(FACTS, "") | {"form": 2, "sequence": 1, "details": "{}"} | values
    return {**facts, "hash": hash_of_facts(facts)}


def written(records: list[dict[str, Any]], form: Format) -> bytes:
    lines = [export_format.line(each, form) for each in records]
    return b"".join([export_format.heading(form), *lines])


def read(raw: bytes, form: Format) -> list[dict[str, Any]]:
    return list(export_format.records(io.BytesIO(raw), form))


@pytest.mark.parametrize("form", Format)
@given(actor=TEXT, agent=TEXT, details=TEXT)
def test_records_come_back_as_they_were(form: Format, actor: str, agent: str, details: str) -> None:
    records = [record(actor=actor, userAgent=agent, details=details), record(sequence=2)]

    assert read(written(records, form), form) == records


@pytest.mark.parametrize("form", Format)
def test_record_of_form_1_comes_back_without_an_action(form: Format) -> None:
    old = record(form=1)
    del old["action"]

    assert read(written([old], form), form) == [old]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＠x", "'=1", "''"]
)
def test_cell_that_could_be_a_formula_is_text_and_comes_back(cell: str) -> None:
    raw = written([record(actor=cell)], Format.CSV).decode()

    [row] = list(csv.DictReader(io.StringIO(raw, newline="")))
    assert row["actor"] == f"'{cell}"
    assert read(raw.encode(), Format.CSV)[0]["actor"] == cell


@given(TEXT)
def test_no_cell_begins_as_a_formula_does(cell: str) -> None:
    escaped = export_format.escaped(cell)

    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert export_format.unescaped(escaped) == cell


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b"{", Format.JSONL),
        (b"[]\n", Format.JSONL),
        (b"\xff\n", Format.JSONL),
        (b"a,b\r\n", Format.CSV),
        (b"\xff", Format.CSV),
        (written([], Format.CSV) + b"1,2\r\n", Format.CSV),
        (written([record(sequence="x")], Format.CSV), Format.CSV),
        (written([record(sequence="²")], Format.CSV), Format.CSV),
    ],
)
def test_content_that_is_no_export_is_refused(raw: bytes, form: Format) -> None:
    with pytest.raises(Unreadable):
        read(raw, form)
