"""A text as HTML: shown as what it is, complete, and escaped."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl.text import text_html
from tests.unit.text.pages import Page, seen
from tests.unit.text.test_kinds import DIFF, PYTHON, SQL

# Texts that look like each kind, with what attacks them.
PIECES = st.lists(
    st.text(max_size=20)
    | st.sampled_from(
        [
            *("<script>", "&lt;", "</pre>", "</details>", "\u202e", "а", "dmin", " " * 50, "\t"),
            *("\n", "\r\n", "\n\n\n\n\n\n\n", "word " * 300, "line\n" * 30, "# Heading\n", "**b**"),
            *(DIFF, "-- x\n", "--- a\n", "+++ b\n", "@@ -1,9 +1,9 @@\n", PYTHON, SQL, "```\n"),
            *("[a](javascript:alert(1))", "- x\n", "    indented\n", '{"a": 1}'),
        ]
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_nothing_of_a_text_is_lost_or_added(text: str) -> None:
    page = Page(text_html.html(text))

    if text:
        assert seen(page.text) == seen(text)


@given(PIECES, st.sampled_from(["", "sql"]))
def test_no_tag_or_attribute_comes_from_the_text(text: str, name: str) -> None:
    page = Page(text_html.html(text, name))

    known = {"span", "pre", "code", "ins", "del", "details", "summary", "div", "p", "em", "time"}
    known |= {"strong", "a", "ul", "ol", "li", "blockquote", "hr", "br", "s", "table", "thead"}
    assert {tag for tag, _attributes in page.tags} <= known | {"tbody", "tr", "th", "td"}
    names = {name for _tag, attributes in page.tags for name in attributes}
    assert names <= {"class", "title", "href", "rel", "target", "start", "scope", "tabindex",
                     "datetime"}  # fmt: skip


def test_code_keeps_its_indentation_and_starts_where_it_starts() -> None:
    page = Page(text_html.html("\n" + PYTHON))

    assert page.text == "\n" + PYTHON
    # A browser leaves out a line break right behind `<pre>`.
    assert text_html.html("\n" + PYTHON).startswith('<pre class="code"><code class="shown">\n')


def test_prose_keeps_its_lines_and_spaces() -> None:
    assert text_html.html("a    b\n\nc") == '<span class="shown">a    b\n\nc</span>'


def test_lines_end_as_they_do_on_any_system() -> None:
    assert text_html.html("a\r\nb") == '<span class="shown">a\nb</span>'
    assert "⟨U+000D⟩" in text_html.html("a\rb")


def test_long_prose_shows_its_first_lines_and_folds_the_rest() -> None:
    page = text_html.html("\n".join(f"Line {number}." for number in range(50)))

    before, fold = page.split("<details")
    assert "Line 15." in before
    assert "34 more lines" in fold
    assert "Line 16." in fold


def test_long_paragraph_is_cut_between_words() -> None:
    before, fold = text_html.html("longer words " * 200).split("<details")

    assert before.endswith(("longer </span>", "words </span>"))
    assert "more characters" in fold


def test_text_that_is_a_little_longer_does_not_fold() -> None:
    assert "<details" not in text_html.html("word " * 230)
    assert "<details" not in text_html.html("Line.\n" * 19)


def test_diff_is_coloured_by_line() -> None:
    page = text_html.html(DIFF)

    assert re.findall(r'<(\w+) class="diff-line diff-(\w+)">(.)', page) == [
        *[("span", "file", sign) for sign in "di-+"],
        ("span", "hunk", "@"),
        ("span", "same", " "),
        ("del", "del", "-"),
        ("ins", "ins", "+"),
    ]
    assert "<details" not in page


def test_changed_line_that_looks_like_a_header_is_a_changed_line() -> None:
    text = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n--- pay 5\n+++ pay 500\n c\n"

    page = text_html.html(text + "--- a/y\n+++ b/y\n@@ -1 +1 @@\n-z\n+w\n")

    assert re.findall(r'diff-(\w+)">(.*)', page) == [
        *[("file", "--- a/x"), ("file", "+++ b/x"), ("hunk", "@@ -1,3 +1,3 @@"), ("same", " a")],
        *[("del", "--- pay 5"), ("ins", "+++ pay 500"), ("same", " c")],
        *[("file", "--- a/y"), ("file", "+++ b/y"), ("hunk", "@@ -1 +1 @@")],
        *[("del", "-z"), ("ins", "+w")],
    ]


def test_long_diff_shows_its_first_changes_and_folds_the_rest() -> None:
    head = DIFF.split("@@")[0] + "@@ -1,200 +1,200 @@\n"
    page = text_html.html(head + "".join(f"-old {n}\n+new {n}\n" for n in range(100)))

    before, fold = page.split("<details")
    assert "+new 19" in before
    assert "160 more lines" in fold
    assert "+new 99" in fold


def test_fold_of_a_diff_says_how_much_changes_in_it_and_where() -> None:
    head = "--- a/first\n+++ b/first\n@@ -1,9 +1,9 @@\n" + "-old\n+new\n" * 20
    other = "--- a/etc/<x>\n+++ b/etc/<x>\n@@ -1,4 +1,3 @@\n a\n b\n-c\n d\n"
    gone = "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-all\n"

    fold = text_html.html(head + other + gone).split("<summary>")[1].split("</summary>")[0]

    assert re.sub("</?span[^>]*>", "", fold) == (
        "11 more lines · 2 changes · further files: etc/&lt;x&gt;, gone"
    )
    same = text_html.html(head + " same\n" * 9).split("<summary>")[1]
    assert same.startswith("9 more lines · no change<")


def test_time_is_an_element_with_the_text_that_was_sent() -> None:
    assert (
        text_html.html("2026-01-16T18:30:12+0900")
        == '<time class="sent" datetime="2026-01-16T18:30:12+09:00">2026-01-16T18:30:12+0900</time>'
    )


def test_markdown_is_shown_as_sent_and_formatted_at_a_click() -> None:
    as_sent, formatted = text_html.html("Do **not** pay").split("<details")

    assert as_sent == '<span class="shown">Do **not** pay</span>'
    assert "Show as formatted" in formatted
    assert "<strong>not</strong>" in formatted


@pytest.mark.parametrize("text", ["rm *.a *.b", "2 * 3 * 4", PYTHON, DIFF])
def test_other_texts_are_not_offered_as_formatted(text: str) -> None:
    assert "formatted" not in text_html.html(text)
