"""A text as HTML for people, shown as what it is: prose, code or a diff. A long one shows its
beginning and folds the rest; as sent, it is there once and whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hitl.text import dates, kinds, markdown_html, sanitize
from hitl.text.kinds import TextKind

# Chosen: what is seen of a longer text, about a third of a screen of prose and two of code.
_SEEN_LINES, _SEEN_CHARACTERS = 16, 1_000
_SEEN_LINES_OF_CODE, _SEEN_CHARACTERS_OF_CODE = 40, 4_000
# Chosen: the changed lines that are seen of a longer diff.
_SEEN_CHANGES = 40
# Chosen: the files that a fold names.
_NAMED_FILES = 5
# Chosen: less than this is not worth a fold.
_LEAST_LINES, _LEAST_CHARACTERS = 5, 200
# Chosen: how far back from the end of what is seen a word may begin, so that it is not cut.
_LONGEST_WORD = 80

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_FILE_HEADER = re.compile(
    r"diff --git |index [0-9a-f]|(?:old|new|deleted file|new file) mode |similarity index |"
    r"(?:rename|copy) (?:from|to) |Binary files "
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CHANGED = ("ins", "del")


def html(text: str, name: str = "", *, may_format: bool = True) -> SafeString:
    """Return a text, the value of the member `name`, as HTML; formatted as well, if it looks like
    Markdown and `may_format`."""
    if not text:
        return format_html('<em class="quiet">{}</em>', _("empty text"))
    if moment := kinds.moment_in(text):
        return dates.html(moment, text)
    # As a browser ends lines; `\r` alone is marked.
    text = text.replace("\r\n", "\n")
    kind = kinds.kind_of(text, name)
    if kind is TextKind.DIFF:
        return _diff(text)
    shown = _code(text) if kind is TextKind.CODE else _prose(text)
    if not may_format or not kinds.is_markdown(text, kind):
        return shown
    return format_html(
        '{}<details class="fold formatted"><summary>{}</summary>{}</details>',
        shown,
        _("Show as formatted"),
        markdown_html.html(text),
    )


def name(text: str, seen: int) -> SafeString:
    """Return a long name as HTML that folds what is behind its first `seen` characters."""
    label = _more_characters(len(text) - seen)
    return _with_rest(sanitize.marked(text[:seen]), sanitize.marked(text[seen:]), label=label)


def _prose(text: str) -> SafeString:
    end = _end_of_seen(text, _SEEN_LINES, _SEEN_CHARACTERS)
    if end == len(text):
        return sanitize.marked(text, is_multiline=True)
    return _with_rest(
        sanitize.marked(text[:end], is_multiline=True),
        sanitize.marked(text[end:], is_multiline=True),
        label=_label(text[end:]),
    )


def _code(text: str) -> SafeString:
    end = _end_of_seen(text, _SEEN_LINES_OF_CODE, _SEEN_CHARACTERS_OF_CODE)
    if end == len(text):
        return _pre(sanitize.html(text))
    return _with_rest(
        _pre(sanitize.html(text[:end])),
        _pre(sanitize.html(text[end:])),
        label=_label(text[end:]),
    )


def _pre(body: SafeString, css_class: str = "code") -> SafeString:
    # A browser leaves out a line break right behind `<pre>`.
    return format_html('<pre class="{}"><code class="shown">{}</code></pre>', css_class, body)


def _with_rest(seen: SafeString, rest: SafeString, *, label: str) -> SafeString:
    return format_html(
        '{}<details class="fold rest"><summary>{}</summary>{}</details>', seen, label, rest
    )


def _label(rest: str) -> str:
    lines = rest.removesuffix("\n").count("\n") + 1
    return _more_lines(lines) if lines > 1 else _more_characters(len(rest))


def _more_lines(count: int) -> str:
    return ngettext("%(count)d more line", "%(count)d more lines", count) % {"count": count}


def _more_characters(count: int) -> str:
    text = ngettext("%(count)d more character", "%(count)d more characters", count)
    return text % {"count": count}


def _end_of_seen(text: str, lines: int, characters: int) -> int:
    """Return where the part ends that is seen at first: at the end of a line or between words."""
    end = 0
    for _line in range(lines):
        end = text.find("\n", end) + 1
        if not end:
            end = len(text)
            break
    else:
        if text.count("\n", end) < _LEAST_LINES and len(text) - end < characters:
            end = len(text)
    if end <= characters + _LEAST_CHARACTERS:
        return end
    space = max(text.rfind(sign, characters - _LONGEST_WORD, characters) for sign in " \n")
    return space + 1 if space >= 0 else characters


def _diff(text: str) -> SafeString:
    lines = list(_classified(text))
    seen, changes = 0, 0
    while seen < len(lines) and changes < _SEEN_CHANGES:
        changes += lines[seen][0] in _CHANGED
        seen += 1
    rest = len(lines) - seen
    if rest < _LEAST_LINES:
        return _pre(_diff_lines(lines), "code diff")
    return _with_rest(
        _pre(_diff_lines(lines[:seen]), "code diff"),
        _pre(_diff_lines(lines[seen:]), "code diff"),
        label=_label_of_diff(lines[seen:]),
    )


def _label_of_diff(rest: list[tuple[str, str]]) -> SafeString:
    """Return how many lines the rest of a diff has, how many of them change something, and which
    files begin in it."""
    changes = sum(kind in _CHANGED for kind, _line in rest)
    text = ngettext("%(count)d change", "%(count)d changes", changes) % {"count": changes}
    parts = [_more_lines(len(rest)), text if changes else _("no change")]
    if files := _files(rest):
        names = [sanitize.marked(name[:_LONGEST_WORD]) for name in files[:_NAMED_FILES]]
        more = [str(_("%(count)d more")) % {"count": n}] if (n := len(files) - len(names)) else []
        label = _("further files: %(names)s")
        joined = format_html_join(", ", "{}", ((each,) for each in [*names, *more]))
        parts.append(sanitize.filled(label, names=joined))
    return format_html_join(" · ", "{}", ((part,) for part in parts))


def _files(lines: list[tuple[str, str]]) -> list[str]:
    """Return the names of the files whose headers are among the lines of a diff."""
    names: dict[str, None] = {}
    old = ""
    for kind, line in lines:
        name = line[4:].split("\t")[0].strip()
        if kind == "file" and line.startswith("--- "):
            old = name
        elif kind == "file" and line.startswith("+++ "):
            names[re.sub("^[ab]/", "", old if name == "/dev/null" else name)] = None
    return list(names)


def _diff_lines(lines: list[tuple[str, str]]) -> SafeString:
    """Return lines as elements. Each has its own sign as its first character."""
    return format_html_join(
        "",
        '<{} class="diff-line {}">{}</{}>',
        (
            (
                kind if kind in _CHANGED else "span",
                f"diff-{kind}",
                sanitize.html(line),
                kind if kind in _CHANGED else "span",
            )
            for kind, line in lines
        ),
    )


def _classified(text: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a unified diff with their breaks, each with what it is: `file`, `hunk`,
    `ins`, `del` or `same`.

    Inside a hunk a changed line may look like a header: `-- x`, removed, reads `--- x`. So a header
    counts only once the hunk has all the old lines that it announces.
    """
    lines = _LINE.findall(text)
    old = 0
    was_header = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        kind = _kind_of_line(line, following, is_in_hunk=old > 0, was_header=was_header)
        if kind == "hunk" and (hunk := _HUNK.match(line)):
            old = int(hunk[1][:9]) if hunk[1] else 1
        elif kind == "file":
            old = 0
        elif kind in ("del", "same"):
            old -= 1
        was_header = kind == "file" and line.startswith("--- ")
        yield kind, line


def _kind_of_line(line: str, following: str, *, is_in_hunk: bool, was_header: bool) -> str:
    if _HUNK.match(line):
        return "hunk"
    begins_file = not is_in_hunk and line.startswith("--- ") and following.startswith("+++ ")
    if begins_file or _FILE_HEADER.match(line) or (was_header and line.startswith("+++ ")):
        return "file"
    return {"+": "ins", "-": "del"}.get(line[0], "same")
