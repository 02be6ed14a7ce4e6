"""A JSON value as HTML: long parts fold, and nothing of them is left out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.jsontext import MAX_DEPTH, compact, parse
from hitl.text import json_html
from tests.unit.text.pages import Page, seen


def nested(levels: int) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = {"in": value}
    return value


def test_long_texts_fold_and_are_whole() -> None:
    text = "word " * 500

    page = json_html.html({"note": text.strip()})

    assert "<details" in page
    assert text.strip() in Page(page).text


def test_lists_and_objects_show_their_beginning_and_fold_the_rest() -> None:
    values = [f"value-number-{n:02}-of-the-list" for n in range(41)]

    for value in ({"a": values}, {"a": {value: n for n, value in enumerate(values)}}):
        before, fold = json_html.html(value).split("<details")
        assert "value-number-29" in before
        assert "value-number-30" in fold
        assert "11 more members" in fold
    assert "<details" not in json_html.html({"a": values[:40]})
    assert '<ol class="json" start="31">' in json_html.html({"a": values})


def test_every_fifth_level_folds() -> None:
    assert json_html.html(nested(5)).count("<details") == 0
    assert json_html.html(nested(6)).count("<details") == 1
    assert json_html.html(nested(MAX_DEPTH)).count("<details") == 12


def test_levels_are_indented_up_to_the_ninth_and_numbered_below_it() -> None:
    page = json_html.html(nested(12))

    assert page.count('class="json"') == 9
    assert page.count('class="json flat"') == 3
    assert re.findall(r'data-level="(\d+)"', page) == ["10", "11", "12"]


def test_members_stay_in_order_and_literals_are_written_as_json() -> None:
    page = json_html.html({"z": None, "a": True, "m": 1.5, "e": {}, "l": [], "t": ""})

    assert re.findall(r"<dt>.*?>(\w)<", page) == ["z", "a", "m", "e", "l", "t"]
    assert re.findall(r'<code class="literal">(.*?)</code>', page) == [
        "null",
        "true",
        "1.5",
        "{}",
        "[]",
    ]
    assert "empty text" in page


@pytest.mark.parametrize(
    ("number", "groups"),
    [
        ("12000000", ["12", "000", "000"]),
        ("-123456.5", ["123", "456"]),
        ("12345678901234567890123", ["12", "345", "678", "901", "234", "567", "890", "123"]),
        ("2026", []),
        ("1e-400", []),
        ("1234567.50000000000000000001", ["1", "234", "567"]),
    ],
)
def test_digits_are_grouped_and_stay_as_they_were_sent(number: str, groups: list[str]) -> None:
    page = json_html.html(parse(f"[{number}]"))

    assert re.findall(r'class="group">(\d+)<', page) == groups
    assert Page(page).text == number


def test_objects_with_the_same_members_are_a_table() -> None:
    rows = [{"file": f"{n}.txt", "size": n} for n in range(50)]

    page = json_html.html({"files": rows})

    before, fold = page.split("<details")
    assert before.count("<tr>") == 31
    assert fold.count("<tr>") == 21
    assert '<th scope="col"><span class="shown">file</span></th>' in before
    assert "<dl" not in page.split("<dd>", 1)[1]


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1}, {"a": 2}],
        [{"a": 1}, {"a": 2}, {"b": 3}],
        [{"a": 1}, {"a": 2}, {"a": [3, {}]}],
        [{"a": 1}, {"a": 2}, {"a": "x\ny"}],
        [{"a": 1}, {"a": 2}, 3],
        [{f"c{n}": 1 for n in range(13)}] * 3,
    ],
)
def test_other_lists_are_no_table(rows: list[Any]) -> None:
    assert "<table" not in json_html.html(rows)


def test_short_values_stand_one_behind_the_other() -> None:
    page = json_html.html({"tags": ["a", "b", "c", 4, None, "f"]})

    assert page.count("<li>") == 6
    assert '<ul class="json short">' in page
    assert "short" not in json_html.html({"tags": ["a", "b", "c", "d", "e", "f" * 25]})


def test_json_in_a_text_is_shown_as_a_value_and_named_a_text() -> None:
    page = json_html.html({"body": '{"to": "Kim", "lines": [{"password": "hunter2"}]}'})

    assert "a text, which is JSON:" in page
    assert re.findall(r"<dt>.*?>(\w+)<", page) == ["body", "to", "lines", "password"]
    assert "hunter2" not in page


def test_json_in_texts_nests_no_deeper_than_json_may() -> None:
    inner = compact(nested(MAX_DEPTH - 1))

    assert "which is JSON" in json_html.html({"a": inner})
    assert "which is JSON" not in json_html.html({"a": {"b": inner}})


def test_names_and_texts_are_escaped_and_marked() -> None:
    page = json_html.html({"<b>": "\u202e<i>"})

    assert "&lt;b&gt;" in page
    assert "⟨U+202E⟩" in page
    assert "<i>" not in page


def test_letter_that_imitates_another_is_marked_and_named() -> None:
    page = json_html.html({"to": "аdmin"})

    assert 'title="а (U+0430) looks like a"' in page
    assert Page(page).text == "toаdmin"


def test_secret_is_shown_as_its_label() -> None:
    page = json_html.html({"password": {"deep": "hunter2"}})

    assert '<span class="masked">' in page
    assert "hunter2" not in page


# Texts that hold JSON are written anew, with its names and values and without its signs.
_TEXTS = st.text(max_size=30).filter(lambda text: not re.match(r"\s*[\[{]", text))
_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=50) | st.dictionaries(st.text(max_size=8), inner, max_size=8)
    ),
    max_leaves=60,
)


@given(_VALUES)
def test_every_name_and_value_is_seen_in_its_order(value: Any) -> None:
    def words(part: Any) -> list[str]:
        if isinstance(part, dict) and part:
            return [word for name, item in part.items() for word in [name, *words(item)]]
        if isinstance(part, list) and part:
            return [word for item in part for word in words(item)]
        return [part or "empty text" if isinstance(part, str) else compact(part)]

    page = json_html.html(value)

    # A table has each name once, above its columns; positions are no part of the value.
    if "<table" not in page and "masked" not in page:
        assert seen(Page(page).text) == seen("".join(words(value)))


def test_markdown_of_a_page_is_formatted_up_to_a_limit() -> None:
    text = "**a** " * 1_500

    page = json_html.html({str(n): text for n in range(10)})

    assert page.count("Show as formatted") == 4
    assert Page(page).text.count("**a**") == 15_000


def test_many_short_values_fold_and_all_are_there() -> None:
    page = json_html.html({"ids": [f"svc-{n}" for n in range(12_000)], "then": "DELETE"})

    seen = page.split("<details")[0]
    assert seen.count("<li>") == 30
    assert "11970 more members" in page
    assert "svc-11999" in page


def test_long_name_folds_and_is_whole() -> None:
    name = "lorem ipsum " * 9_000

    page = json_html.html({name: "x"})

    assert len(page.split("<details")[0]) < 400
    assert name in Page(page).text
    assert '<div class="below">' in page


@pytest.mark.parametrize("name", ["", " ", "amount ", '"amount"'])
def test_name_whose_end_nobody_sees_has_quotes(name: str) -> None:
    assert f'"{name}"' in Page(json_html.html({name: 1})).all_text
    assert '"amount"' not in Page(json_html.html({"amount": 1})).all_text


def test_numbers_of_a_text_that_is_json_are_shown_as_written() -> None:
    page = json_html.html('{"amount": 1E2, "rate": 1.50, "b": 0.1, "n": -0}')

    for number in ("1E2", "1.50", "0.1", "-0"):
        assert f">{number}</code>" in page


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("Pay 5 EUR?\nToday.", ""),
        ('{"amount": 1E2}', '{"amount": 1E2}'),
        ('{"amount": 1E2, "otp": 5}', '{"amount":1E2,"otp":"masked by HITL_REDACT: otp"}'),
        ("2026-01-16T18:30:12+0900", "2026-01-16T18:30:12+0900"),
        ("o" + "\u033f" * 8, "o" + "\u033f" * 4 + "⟨U+033F ×4⟩"),
    ],
)
def test_text_that_is_shown_otherwise_is_there_exactly(text: str, exact: str) -> None:
    assert Page(json_html.exact_text(text)).all_text == exact
