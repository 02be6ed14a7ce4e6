"""Style sheets are whole: an open block swallows all rules behind it, without an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHEETS = [
    *sorted((ROOT / "hitl/static").rglob("*.css")),
    *sorted((ROOT / "dwp_project").rglob("static/**/*.css")),
]
# Media queries and the like hold rules; nothing else is nested here.
DEEPEST = 2


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_every_block_of_a_style_sheet_is_closed(sheet: Path) -> None:
    text = re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", sheet.read_text(), flags=re.S)
    depth = 0
    for brace in re.findall(r"[{}]", text):
        depth += 1 if brace == "{" else -1
        assert 0 <= depth <= DEEPEST
    assert depth == 0


def test_all_style_sheets_are_looked_at() -> None:
    assert len(SHEETS) > 6
