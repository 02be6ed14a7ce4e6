"""Markdown from outside as HTML: no raw HTML, no pictures, and the host of every link beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hitl.text import sanitize

# Chosen: quotes and lists in each other; what is deeper is left as it was written.
_MAX_NESTING = 20
# Nothing else becomes a link: no name before the host, nothing that a browser reads in another way
# than it is written.
_LINK = re.compile(r"https?://([A-Za-z0-9.\-]+(?::\d{1,5})?)(?:[/?#][!-~]*)?")
_MAIL = re.compile(r"mailto:([A-Za-z0-9.!#$'*+/=^_{|}~@\-]+)")

# A heading is no heading of the page, whose outline is not the agent's to write.
_TAGS = {
    name: SafeString(tag)
    for name, tag in {
        "paragraph_open": "<p>",
        "paragraph_close": "</p>",
        "heading_open": '<p class="heading">',
        "heading_close": "</p>",
        "blockquote_open": "<blockquote>",
        "blockquote_close": "</blockquote>",
        "bullet_list_open": "<ul>",
        "bullet_list_close": "</ul>",
        "ordered_list_close": "</ol>",
        "list_item_open": "<li>",
        "list_item_close": "</li>",
        "hr": "<hr>",
        "table_open": '<div class="table-scroll" tabindex="0"><table>',
        "table_close": "</table></div>",
        "thead_open": "<thead>",
        "thead_close": "</thead>",
        "tbody_open": "<tbody>",
        "tbody_close": "</tbody>",
        "tr_open": "<tr>",
        "tr_close": "</tr>",
        "th_open": '<th scope="col">',
        "th_close": "</th>",
        "td_open": "<td>",
        "td_close": "</td>",
        "em_open": "<em>",
        "em_close": "</em>",
        "strong_open": "<strong>",
        "strong_close": "</strong>",
        "s_open": "<s>",
        "s_close": "</s>",
        "softbreak": "\n",
        "hardbreak": "<br>",
    }.items()
}


def html(text: str) -> SafeString:
    """Return a Markdown text as HTML. The caller bounds its length."""
    return format_html('<div class="markdown">{}</div>', _blocks(_parser().parse(text)))


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING})
    # What is no HTML then is a text.
    parser.disable(["html_block", "html_inline"])
    return parser.enable(["table", "strikethrough"])


def _blocks(tokens: Sequence[Token]) -> SafeString:
    return format_html_join("", "{}", ((_block(token),) for token in tokens))


def _block(token: Token) -> SafeString | str:
    if token.hidden:
        return ""
    match token.type:
        case "inline":
            return format_html_join("", "{}", ((piece,) for piece in _inline(token.children or ())))
        case "fence" | "code_block":
            return format_html(
                '<pre class="code"><code class="shown">{}</code></pre>',
                sanitize.html(token.content),
            )
        case "ordered_list_open":
            return format_html('<ol start="{}">', int(token.attrs.get("start", 1)))
        case _:
            return _tag(token)


def _tag(token: Token) -> SafeString | str:
    if tag := _TAGS.get(token.type):
        return tag
    # A kind of token that a later version of the library may bring.
    return sanitize.html(token.content)


def _inline(tokens: Sequence[Token]) -> Iterator[SafeString | str]:
    # What closes each link that is open.
    ends: list[SafeString] = []
    for token in tokens:
        match token.type:
            case "text":
                yield sanitize.html(token.content)
            case "code_inline":
                yield format_html("<code>{}</code>", sanitize.html(token.content))
            case "image":
                yield _image(token)
            case "link_open":
                begin, end = _link(str(token.attrs.get("href", "")))
                ends.append(end)
                yield begin
            case "link_close":
                yield ends.pop() if ends else ""
            case _:
                yield _tag(token)


def _link(address: str) -> tuple[SafeString, SafeString]:
    """Return what stands before and behind the text of a link. One that may not be followed is
    followed by its address."""
    if link := _LINK.fullmatch(address) or _MAIL.fullmatch(address):
        return (
            format_html('<a href="{}" rel="noopener noreferrer" target="_blank">', address),
            format_html('</a> <span class="host">({})</span>', sanitize.html(link[1])),
        )
    return SafeString(""), _address(address)


def _image(token: Token) -> SafeString:
    return format_html(
        '<span class="picture">{} {}</span>{}',
        _("picture:"),
        sanitize.html(token.content),
        _address(str(token.attrs.get("src", ""))),
    )


def _address(address: str) -> SafeString:
    return format_html(' <span class="host">({})</span>', sanitize.html(address))
