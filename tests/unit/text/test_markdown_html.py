"""Markdown from outside: formatted, and unable to do anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl.text import kinds, markdown_html
from tests.unit.text.pages import Page

TAGS = {
    *("div", "p", "blockquote", "ul", "ol", "li", "hr", "table", "thead", "tbody", "tr", "th"),
    *("td", "em", "strong", "s", "br", "code", "pre", "a", "span"),
}


def assert_harmless(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag in TAGS
        assert attributes.keys() <= {"class", "href", "rel", "target", "start", "scope", "tabindex",
                                     "title"}  # fmt: skip
        if tag == "a":
            address = attributes["href"] or ""
            assert address.startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer"


def test_markdown_is_formatted() -> None:
    page = markdown_html.html(
        "# Plan\n\n1. **Stop** `web`\n2. wait\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )

    assert '<p class="heading">Plan</p>' in page
    assert "<li><strong>Stop</strong> <code>web</code></li>" in page
    assert "<td>1</td>" in page
    assert_harmless(Page(page))


def test_link_opens_elsewhere_and_shows_its_host() -> None:
    page = markdown_html.html("[the bank](https://evil.example:8443/bank?x=1#y)")

    assert (
        '<a href="https://evil.example:8443/bank?x=1#y" rel="noopener noreferrer" target="_blank">'
        'the bank</a> <span class="host">(evil.example:8443)</span>' in page
    )


def test_mail_address_is_shown() -> None:
    assert (
        "(pay@evil.example)" in Page(markdown_html.html("[Kim](mailto:pay@evil.example)")).all_text
    )


def test_host_in_another_script_is_shown_in_ascii() -> None:
    assert "xn--" in Page(markdown_html.html("[x](https://раураl.example/)")).all_text


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x](\u0001javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](data:image/png;base64,AAAA)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x](/admin/hitl/approvalrequest/1/decide/)",
        "[x](//evil.example/)",
        "[x](\\\\evil.example)",
        "[x](https://bank.example@evil.example/)",
        "[x](https://evil.example\\@bank.example/)",
        "[x](https:/evil.example)",
        "[x](https:evil.example)",
        "[x](ftp://evil.example/)",
        "<javascript:alert(1)>",
        "[x][y]\n\n[y]: javascript:alert(1)",
        "[x](<javascript:alert(1)>)",
        "[x](mailto:a@b.example?bcc=c@d.example&body=secret)",
    ],
)
def test_other_addresses_are_no_links(text: str) -> None:
    page = Page(markdown_html.html(text))

    assert page.named("a") == []
    assert_harmless(page)


def test_address_that_is_no_link_is_shown() -> None:
    page = Page(markdown_html.html("[the bank](https://bank.example@evil.example/)"))

    assert "the bank (https://bank.example@evil.example/)" in page.all_text


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "a <b onclick='alert(1)'>b</b>",
        "<!-- approve -->",
        "<details open ontoggle=alert(1)>\n\n**x**\n\n</details>",
        "&lt;script&gt;",
        "`<script>`",
        "```html\n<script>\n```",
        "| <script> |\n|---|\n| <img> |",
        '[x](https://a.example "\\" onclick=alert(1)")',
        "<https://a.example/<script>>",
    ],
)
def test_raw_html_stays_a_text(text: str) -> None:
    assert_harmless(Page(markdown_html.html(text)))


def test_comment_is_seen() -> None:
    assert "<!-- approve -->" in Page(markdown_html.html("<!-- approve -->")).all_text


@pytest.mark.parametrize("source", ["https://evil.example/x.png", "data:image/png;base64,AAAA"])
def test_picture_is_its_text_and_its_address(source: str) -> None:
    page = Page(markdown_html.html(f"![the chart]({source})"))

    assert page.named("img") == []
    assert "the chart" in page.all_text
    assert source in page.all_text


def test_invisible_characters_have_marks_also_as_entities_and_in_code() -> None:
    for text in (
        "a\u202eb",
        "a&#x202e;b",
        "`a\u202eb`",
        "[a\u202eb](https://c.example)",
        "```\n\u202e",
    ):
        page = markdown_html.html(text)
        assert "\u202e" not in page
        assert '<span class="unseen">⟨U+202E⟩</span>' in page


@pytest.mark.parametrize(
    "piece",
    [
        *("[", "![", "[a](", "[a][", "[]", "](", "<", "<a", "<!--", "&", "&#", "*", "**a", "*a_ "),
        *(
            "_",
            "~~",
            "`",
            "``a`",
            "\\",
            "> ",
            ">",
            "- ",
            "1. ",
            "* * ",
            "    ",
            "|",
            "|-",
            "a|b\n|-|-|\n",
        ),
        *("[a]: b\n", "[a]:\n", "<http://a>", "http://a", "***", "_*", "![a](b", "[![", "\n> - "),
    ],
)
def test_repeated_piece_costs_little(piece: str) -> None:
    text = (piece * kinds.MAX_MARKDOWN_CHARACTERS)[: kinds.MAX_MARKDOWN_CHARACTERS]

    page = markdown_html.html(text)

    # Nothing is blown up to a page that no browser opens.
    assert len(page) < 100 * len(text)
    assert_harmless(Page(page))


@given(
    st.lists(
        st.text(max_size=6)
        | st.sampled_from(
            [
                *("[", "]", "(", ")", "<", ">", "!", "*", "_", "`", "\n", "\n\n", "# ", "- ", "> "),
                *(
                    "|",
                    "---",
                    "javascript:",
                    "https://a.example",
                    '"',
                    "'",
                    "&quot;",
                    "&#34;",
                    "\\",
                ),
                *("data:", "onclick=", "<script>", "[x]: ", "    ", "\u202e", "mailto:", "@", "~~"),
            ]
        ),
        max_size=25,
    ).map("".join)
)
def test_no_markdown_makes_anything_but_text(text: str) -> None:
    page = Page(markdown_html.html(text))

    assert_harmless(page)
    assert "\u202e" not in page.all_text
