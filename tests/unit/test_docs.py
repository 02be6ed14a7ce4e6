"""The documentation leads where it says: links, anchors, decisions, and files that it names."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    + list((ROOT / "docs").rglob("*.md"))
)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?^[ \t]*\1`*[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_INLINE_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_ADRS = ROOT / "docs/adr"
# Folders and files of the checkout, as CONTRIBUTING names them in code spans.
_PATH = re.compile(
    r"`((?:dwp_project|hitl|streaming|tests|docs|locale|deploy|\.ci|\.github)/[^`\s]*"
    r"|(?:[A-Z]+\.md|Makefile|[a-z-]+\.(?:toml|txt|lock)))`"
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """Return Markdown without its code, in which links and headings are only shown."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Return where the links and pictures of a page lead, but for other sites."""
    shown = _CODE.sub("", prose(text))
    targets = _INLINE_LINK.findall(shown) + _REFERENCE.findall(shown)
    return [target for target in targets if not _ELSEWHERE.match(target)]


def anchors(text: str) -> set[str]:
    """Return the anchors that a forge makes of a page's headings."""
    made: set[str] = set()
    for heading in _HEADING.findall(prose(text)):
        slug = slug_of(heading)
        again = 0
        while (anchor := f"{slug}-{again}" if again else slug) in made:
            again += 1
        made.add(anchor)
    return made


def slug_of(heading: str) -> str:
    """Return GitHub's anchor of a heading: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def broken(page: Path) -> Iterator[str]:
    """Say which links of a page lead nowhere, and why."""
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and unquote(anchor) not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: {name_of(target)} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert "\n".join(broken(page)) == ""


def test_links_are_seen_in_every_form_and_not_in_code() -> None:
    text = (
        "[a](one.md) ![b](two.png) [c](<three.md> \"T\") [d](#four) [e](https://x.example/)\n"
        "`[f](not.md)` [`g`](five.md#g)\n"
        "[h]: six.md\n"
        "```\n[i](neither.md)\n# No heading\n```\n"
    )  # fmt: skip
    assert sorted(links(text)) == sorted(
        ["one.md", "two.png", "three.md", "#four", "five.md#g", "six.md"]
    )
    assert anchors(text) == set()


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Who may decide?", "who-may-decide"),
        ("3.1 `POST /aura/hitl/approve/{requestId}`", "31-post-aurahitlapproverequestid"),
        ("Threads, and a line before them", "threads-and-a-line-before-them"),
        ("[0.1.0] - 2026-11-30", "010---2026-11-30"),
        ("See [the wire](wire.md)", "see-the-wire"),
        ("메일 3개", "메일-3개"),
    ],
)
def test_anchor_is_the_one_that_github_makes(heading: str, anchor: str) -> None:
    assert slug_of(heading) == anchor


def test_second_heading_of_a_name_has_a_number() -> None:
    assert anchors("## Same\n\n## Same\n") == {"same", "same-1"}


def test_every_decision_is_in_the_list_of_decisions_once() -> None:
    pages = sorted(page.name for page in _ADRS.glob("[0-9]*.md"))
    listed = re.findall(
        r"^\| \[(\d{4})\]\(((\d{4})-[^)]*)\)",
        (_ADRS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [name for _, name, _ in listed] == pages
    assert all(number == of_page for number, _, of_page in listed)


def test_every_decision_has_the_title_under_which_it_is_listed() -> None:
    listed = (_ADRS / "README.md").read_text(encoding="utf-8")
    pages = sorted(_ADRS.glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    rows = re.findall(r"^\| \[(\d{4})\]\([^)]*\) \| (.+) \|$", listed, re.MULTILINE)
    assert [f"# {number} {title}" for number, title in rows] == titles


def named_paths(text: str) -> list[str]:
    """Return the paths of the checkout that a page names in code, without code blocks."""
    return _PATH.findall(prose(text))


def is_there(path: str) -> bool:
    """Say whether a path exists; of one with a placeholder, whether its folder does."""
    if "<" in path:
        folder = path.partition("<")[0].rpartition("/")[0]
        return (ROOT / folder).is_dir()
    return (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_every_file_that_contributing_names_is_there() -> None:
    paths = named_paths((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(paths) > 60
    assert "\n".join(sorted({path for path in paths if not is_there(path)})) == ""


def test_every_name_that_a_recipe_gives_is_in_its_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = []
    for row in re.findall(r"^\| (`.+) \|$", text, re.MULTILINE):
        files = [path for path in named_paths(row) if (ROOT / path).is_file()]
        held = "".join((ROOT / path).read_text(encoding="utf-8") for path in files)
        names = re.findall(r"`(_[a-z_]+|_?[A-Z]\w+)`", row, re.ASCII)
        missing += [f"{name}: {', '.join(files)}" for name in names if name not in held]
    assert "\n".join(missing) == ""


def test_paths_are_seen_and_looked_for() -> None:
    text = "`hitl/services.py` `hitl/admin/<model>.py`, `make test` `nobody/home.py` `README.md`"
    assert named_paths(text) == ["hitl/services.py", "hitl/admin/<model>.py", "README.md"]
    assert is_there("hitl/services.py")
    assert is_there("hitl/admin/<model>.py")
    assert is_there("hitl/migrations/")
    assert is_there("Makefile")
    assert not is_there("hitl/servces.py")
    assert not is_there("hitl/nowhere/<model>.py")
    assert not is_there("hitl/services.py/")


def test_no_page_has_a_shell_read_the_environment_of_the_service() -> None:
    sourced = re.compile(r"(?:^|[;&|]) *(?:\.|source) +\S*dwp\.env", re.MULTILINE)
    assert sourced.search("set -a; . /etc/dwp/dwp.env; set +a")
    assert [name_of(page) for page in PAGES if sourced.search(page.read_text("utf-8"))] == []


def test_update_replaces_the_link_and_puts_none_into_a_folder(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/deploy.md").read_text(encoding="utf-8")
    [move] = re.findall(r"^mv .+$", text, re.MULTILINE)
    [link, as_from_010] = re.findall(r"^(ln -sf\S* .+?) &&", text, re.MULTILINE)
    current, first, second = (tmp_path / name for name in ("dwp", "dwp-1", "dwp-2"))

    def run(line: str) -> int:
        command = line.replace("/opt/", f"{tmp_path}/").split()
        return subprocess.run(command, check=False, capture_output=True).returncode

    for folder in (current, second):
        folder.mkdir()
    # As 0.1.0 was installed.
    assert run(link) != 0
    assert list(current.iterdir()) == []
    assert run(move) == 0
    assert first.is_dir()
    current.symlink_to("dwp-1")
    assert (run(link), current.resolve()) == (0, second)
    assert list(first.iterdir()) == []
    assert as_from_010 == link
