"""JSON that every client and database can carry, and its one canonical form."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.jsontext import (
    MAX_DEPTH,
    ExactNumber,
    InvalidJSON,
    canonical,
    compact,
    digest,
    indented,
    loads,
    parse,
)

# Whatever a client may send: text without halves of surrogate pairs, finite numbers.
_texts = st.text(st.characters(exclude_categories=["Cs"]))
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts
)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=20,
)


def complaint_about(text: str | bytes) -> str | None:
    """Return why `parse` refuses `text`, or None if it does not; raise what else it raises."""
    try:
        parse(text)
    except InvalidJSON as exc:
        return str(exc)
    return None


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return the same JSON value with the members of every object in another order."""
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    return value


@given(values)
def test_compact_text_is_parsed_to_what_it_was_made_of(value: Any) -> None:
    assert parse(compact(value)) == value
    assert parse(compact(value).encode()) == value


@given(values, st.randoms(use_true_random=False))
def test_canonical_text_does_not_depend_on_the_order_of_members(
    value: Any, chance: random.Random
) -> None:
    assert canonical(shuffled(value, chance)) == canonical(value)
    assert digest(shuffled(value, chance)) == digest(value)


@given(values)
def test_canonical_text_survives_the_wire(value: Any) -> None:
    assert canonical(parse(compact(value))) == canonical(value)


@given(st.text())
def test_parse_of_any_text_gives_a_value_or_says_why_not(text: str) -> None:
    assert complaint_about(text) != ""


@given(st.binary())
def test_parse_of_any_bytes_gives_a_value_or_says_why_not(text: bytes) -> None:
    assert complaint_about(text) != ""


def test_canonical_is_sorted_compact_and_not_escaped() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"고": "🙂", "z": ""}}

    assert canonical(value) == '{"a":{"z":"","고":"🙂"},"b":[1,2.5,null,true]}'


def test_compact_keeps_the_order_of_members() -> None:
    assert compact({"b": 1, "a": "가"}) == '{"b":1,"a":"가"}'


def test_digest_never_changes() -> None:
    # Digests are kept for years: these were taken once and must stay.
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert (
        digest({"folder": "받은편지함", "count": 3})
        == "044d7c7af96f6929e9ab6c2283e307f254bba26c092ce3804f85cfd09889120b"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NaN", "number"),
        ('{"a":NaN}', "number"),
        ("Infinity", "number"),
        ("-Infinity", "number"),
        ("1e999", "number"),
        ("-1e999", "number"),
        ("1" * 4301, "number"),
        ('{"a":1,"a":1}', "twice"),
        ('{"a":{"b":1,"b":2}}', "twice"),
        ('{"a":1,"\\u0061":2}', "twice"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff":1}', "surrogate"),
        ('["\\ude00\\ud83d"]', "surrogate"),
        ("", "at character 0"),
        (" ", "at character"),
        ("{", "at character"),
        ("{'a':1}", "at character"),
        ('{"a":1,}', "at character"),
        ("[1] 2", "at character"),
        ("nul", "at character"),
        ('"\n"', "at character"),
        ("01", "at character"),
        ("\ufeff{}", "at character"),
        (b"\xff", "UTF-8"),
        (b"\xed\xa0\x80", "UTF-8"),
        ('"\ud800"', "surrogate"),
    ],
    ids=lambda part: ascii(part)[:30],
)
def test_parse_refuses_what_cannot_be_sent_on(text: str | bytes, why: str) -> None:
    with pytest.raises(InvalidJSON, match=why):
        parse(text)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("is_closed", [True, False])
def test_parse_refuses_what_is_nested_too_deep(
    depth: int, left: str, right: str, is_closed: bool
) -> None:
    with pytest.raises(InvalidJSON, match="64 levels"):
        parse(left * depth + "1" + right * depth * is_closed)


def test_parse_takes_what_is_nested_64_deep() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH

    assert compact(parse(text)) == text


def test_parse_does_not_count_brackets_side_by_side_or_in_texts() -> None:
    many: list[dict[str, list[int]]] = [{"a": []} for _ in range(1000)]
    assert parse(json.dumps(many)) == many
    brackets = ["[{" * 1000, '\\"[[' * 1000, '"' + "[" * 100]
    assert parse(json.dumps(brackets)) == brackets


@pytest.mark.parametrize(
    "text",
    ['"\\u0000"', '"\\ud83d\\ude42"', "1" * 4300, "-5", "1E2", '{"":{}}', ' {"a" : [ ] } ', "null"],
    ids=lambda text: text[:20],
)
def test_parse_takes_what_json_can_say(text: str) -> None:
    assert parse(text) == json.loads(text)


@pytest.mark.parametrize("write", [compact, canonical])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": float("-inf")}])
def test_text_of_a_number_that_json_cannot_carry_is_refused(write: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(value)


# --- numbers that no float has ------------------------------------------------------------

EXACT = (
    *("9007199254740993.5", "1e-400", "-1e-400", "0.10000000000000000555", "1E-999", "123e-9999"),
    *("0.1000000000000000055511151231257827021181583404541015625", "4.9e-324", "2.5e-324"),
    *("1e-99999999999999999999", "3.141592653589793238462643", "12345678901234567890.1", "-0"),
)
LIKE_A_FLOAT = (
    *("1.10", "1E5", "1e23", "0.1", "-0.0", "0e999", "0.0e-400", "1e308", "5e-324", "100.000"),
    *("1.7976931348623157e308", "2.2250738585072014E-308", "9007199254740992.0"),
)


@given(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z")
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
def test_number_keeps_its_value_or_is_refused(literal: str) -> None:
    try:
        value = parse(literal)
    except InvalidJSON:
        assert abs(Decimal(literal)) > Decimal("1.79e308")
        return

    assert Decimal(compact(value)) == Decimal(literal)
    assert Decimal(canonical([value])[1:-1]) == Decimal(literal)
    assert parse(compact(value)) == value


@pytest.mark.parametrize("literal", EXACT)
def test_number_that_no_float_has_is_written_as_it_came(literal: str) -> None:
    text = f'{{"b":[{literal},"{literal}"],"a":{literal}}}'
    value = parse(text)

    assert value["a"] == ExactNumber(literal)
    assert compact(value) == text
    assert compact(loads(text)) == text
    assert canonical(value) == f'{{"a":{literal},"b":[{literal},"{literal}"]}}'
    assert indented([value["a"]]) == f"[\n  {literal}\n]"
    assert str(value["a"]) == literal
    assert digest(value) == digest(parse(canonical(value)))


@pytest.mark.parametrize("literal", LIKE_A_FLOAT)
def test_other_numbers_are_floats_as_ever(literal: str) -> None:
    for value in (parse(literal), loads(literal)):
        assert type(value) is float
        assert value == json.loads(literal)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_that_was_written_here_is_a_float_again(number: float) -> None:
    assert type(parse(compact(number))) is float


def test_no_text_can_stand_in_for_an_exact_number() -> None:
    value = parse('["1e-400", 1e-400, "\\"1e-400", "x1e-400\\""]')

    assert compact(value) == '["1e-400",1e-400,"\\"1e-400","x1e-400\\""]'


@pytest.mark.parametrize("write", [compact, canonical, indented])
def test_what_is_no_json_is_still_refused(write: Any) -> None:
    with pytest.raises(TypeError, match="set"):
        write([{1, 2}])
