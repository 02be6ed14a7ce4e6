"""A text is taken for what it is: a time, a diff, code, JSON, Markdown or prose."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.jsontext import ExactNumber, compact
from hitl.text import kinds
from hitl.text.kinds import TextKind

DIFF = """\
diff --git a/pay.py b/pay.py
index 83db48f..bf2a3c1 100644
--- a/pay.py
+++ b/pay.py
@@ -1,3 +1,3 @@
 def pay(amount):
-    return amount
+    return amount * 2
"""
PYTHON = "def pay(amount):\n    if amount > 10:\n        raise ValueError\n    return amount"
SQL = "DELETE FROM users WHERE created < '2020-01-01';"
LOG = """\
2026-01-16 09:30:12 INFO worker started
2026-01-16 09:30:13 ERROR no space left on device
2026-01-16 09:30:14 INFO worker stopped"""
MAIL = """\
Hello Kim,

please pay the invoice of ACME before the end of the month. It is about the
consulting of January; the delivery note is attached.

Best regards
Lee"""


@pytest.mark.parametrize(
    "text",
    [
        PYTHON,
        SQL,
        "select id, name from users where id = 4",
        "UPDATE users\nSET name = 'x'\nWHERE id = 4",
        LOG,
        "ERROR a\nINFO b\nINFO c",
        "#!/bin/sh\nrm -r build",
        "services:\n  web:\n    image: nginx",
        "name        size    changed\na.txt       12      yesterday\nb.txt       9       today",
        "function pay(amount) {\nreturn amount;\n}",
        "\tif x\n\t\ty",
    ],
)
def test_code_sql_logs_and_what_is_indented_are_code(text: str) -> None:
    assert kinds.kind_of(text) is TextKind.CODE


@pytest.mark.parametrize("name", ["command", "sql", "sqlQuery", "shell_script", "stdout", "patch"])
def test_member_that_names_code_holds_code(name: str) -> None:
    assert kinds.kind_of("rm *.a *.b", name) is TextKind.CODE
    assert kinds.kind_of("rm *.a *.b", "comment") is TextKind.PROSE


@pytest.mark.parametrize(
    "text",
    [
        "Pay 120 EUR to ACME?",
        MAIL,
        "Select the file from the list",
        "Update the page and set the title",
        "First line\nSecond line",
        "- milk\n- eggs\n  and more eggs",
        "메일 3통을\n삭제할까요?",
        "a   b",
    ],
)
def test_sentences_letters_and_lists_are_prose(text: str) -> None:
    assert kinds.kind_of(text) is TextKind.PROSE


@pytest.mark.parametrize(
    "text",
    [
        DIFF,
        DIFF.split("\n", 2)[2],
        "@@ -1 +1 @@\n-a\n+b",
        "See the change:\n\n" + DIFF,
        "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n+one",
    ],
)
def test_unified_diffs_are_diffs(text: str) -> None:
    assert kinds.kind_of(text) is TextKind.DIFF


def test_rules_and_lists_are_no_diffs() -> None:
    assert kinds.kind_of("--- a heading ---\n- one\n- two\n+ three") is not TextKind.DIFF


@pytest.mark.parametrize("text", ["{}", "[]", "[WIP] Pay?", "{curly}", "12", '"x"', "null", ""])
def test_other_texts_hold_no_json(text: str) -> None:
    assert kinds.json_in(text) is None


def test_json_in_a_text_is_its_value() -> None:
    assert kinds.json_in(' {"a": [1, 2.50]}\n') == {"a": [1, ExactNumber("2.50")]}
    assert kinds.json_in("[1]") == [1]
    assert kinds.json_in("[" * 65 + "]" * 65) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-16T09:30:12Z",
        "2026-01-16T18:30:12+09:00",
        "2026-01-16 04:30:12-0500",
        "2026-01-16t09:30:12.000z",
    ],
)
def test_time_with_a_zone_is_its_moment(text: str) -> None:
    assert kinds.moment_in(text) == datetime(2026, 1, 16, 9, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-16T09:30:12",
        "2026-01-16",
        "2026-13-16T09:30:12Z",
        "0001-01-01T00:00:00Z",
        "at 2026-01-16T09:30:12Z",
    ],
)
def test_time_without_a_zone_and_what_is_no_time_is_a_text(text: str) -> None:
    assert kinds.moment_in(text) is None


@pytest.mark.parametrize(
    "text",
    ["# Heading\ntext", "**bold** words", "[a](https://b.example)", "- a\n- b", "```\nx\n```"],
)
def test_text_with_signs_of_markdown_looks_like_it(text: str) -> None:
    assert kinds.is_markdown(text, TextKind.PROSE)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("rm *.a *.b", TextKind.PROSE),
        ("Pay 3 * 4 EUR?", TextKind.PROSE),
        ("#123 is paid", TextKind.PROSE),
        (PYTHON, TextKind.CODE),
        ("# a comment\n  * x", TextKind.CODE),
        (DIFF, TextKind.DIFF),
        ("# a\n" * 3_000, TextKind.PROSE),
    ],
)
def test_other_texts_do_not_look_like_markdown(text: str, kind: TextKind) -> None:
    assert not kinds.is_markdown(text, kind)


@given(st.text(alphabet="[]{}()*_`#>|-+@ \t\nSELECTFROMab;:=<\\\"'12"), st.text(max_size=9))
def test_any_text_has_a_kind(text: str, name: str) -> None:
    assert kinds.kind_of(text, name) in TextKind
    kinds.is_markdown(text, kinds.kind_of(text, name))


@given(st.recursive(st.integers() | st.text(), lambda v: st.lists(v, min_size=1), max_leaves=9))
def test_json_of_any_value_is_recognized(value: object) -> None:
    if isinstance(value, list):
        assert kinds.json_in(compact(value)) == value
