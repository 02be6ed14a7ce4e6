"""Members are set in the text of a JSON object, and nothing else in it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl.delivery.merge import with_members

SET = {"status": "approved", "approvedBy": '김 "철수"', "approvedAt": 1706152860123}

spaces = st.text(" \t\r\n", max_size=2)
# Another spelling of `status`.
ESCAPED = r"stat\u0075s"
odd_names = [*SET, "userId", "context", 'a"b', ESCAPED, "", "홍", "x\\"]
names = st.sampled_from(odd_names) | st.text(max_size=4)
# As agents write them: what a parser would write otherwise is among them.
numbers = st.sampled_from(
    ["7", "-0", "1.10", "1e-400", "9007199254740993", "9007199254740993.5", "1E+2", "1" * 5000]
)
scalars = numbers | st.sampled_from(["null", "true", "false", "[]", "{}", "[ ]", "{ }"])
texts = st.text(max_size=6).map(json.dumps) | st.sampled_from([r'"\u0041\/"', r'"}\"{,:"', '"홍"'])
values = st.recursive(
    scalars | texts,
    lambda inner: (
        st.tuples(spaces, st.lists(inner, max_size=3)).map(
            lambda part: f"[{part[0]}" + f",{part[0]}".join(part[1]) + "]"
        )
        | st.tuples(spaces, st.dictionaries(texts, inner, max_size=3)).map(
            lambda part: "{" + ",".join(f"{n}{part[0]}:{v}" for n, v in part[1].items()) + "}"
        )
    ),
    max_leaves=8,
)


@st.composite
def objects(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Return the members of an object: what stands before each value, the value, what follows."""
    members, known = [], set()
    for drawn in draw(st.lists(names, max_size=6)):
        written = drawn if drawn == ESCAPED else json.dumps(drawn)[1:-1]
        name = json.loads(f'"{written}"')
        if name in known:
            continue
        known.add(name)
        before = f'{draw(spaces)}"{written}"{draw(spaces)}:{draw(spaces)}'
        members.append((before, draw(values), draw(spaces)))
    return members


def meant(written: str) -> str:
    """Return the name of a member, from what stands before its value."""
    return str(json.loads(written.strip().rstrip(": \t\r\n")))


@given(objects(), spaces, spaces)
def test_every_other_character_stays(
    members: list[tuple[str, str, str]], before: str, after: str
) -> None:
    def written(pieces: list[tuple[str, str, str]], more: str = "") -> str:
        body = ",".join("".join(piece) for piece in pieces)
        return f"{before}{{{body}{more}}}{after}"

    text = written(members)

    result = with_members(text, SET)

    expected = [
        (name, json.dumps(SET.get(meant(name)), ensure_ascii=False), end)
        if meant(name) in SET
        else (name, value, end)
        for name, value, end in members
    ]
    there = {meant(name) for name, _, _ in members}
    new = ",".join(
        f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}"
        for name, value in SET.items()
        if name not in there
    )
    if new and expected:
        name, value, end = expected[-1]
        expected[-1] = (name, f"{value},{new}", end)
        assert result == written(expected)
    elif new:
        assert result == f"{before}{{{new}}}{after}"
    else:
        assert result == written(expected)


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("{}", '{"status":"expired"}'),
        (" { } ", ' {"status":"expired" } '),
        ('{"a": [] }', '{"a": [],"status":"expired" }'),
        ('{"status" : "pending" , "a":1.10}', '{"status" : "expired" , "a":1.10}'),
        (
            r'{"stat\u0075s":"pending","x":"\"status\":1"}',
            r'{"stat\u0075s":"expired","x":"\"status\":1"}',
        ),
        ('{"x":{"status":"pending"}}', '{"x":{"status":"pending"},"status":"expired"}'),
    ],
)
def test_member_is_set_in_its_place_or_at_the_end(text: str, merged: str) -> None:
    assert with_members(text, {"status": "expired"}) == merged


def test_setting_the_same_members_again_changes_nothing() -> None:
    members: dict[str, Any] = {"status": "rejected", "reason": "line\nbreak \u2028 🙂"}
    once = with_members('{"status":"pending","n":1e-400}', members)

    assert with_members(once, members) == once
    assert json.loads(once)["reason"] == members["reason"]
