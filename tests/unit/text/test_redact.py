"""Secrets stay out of what people are shown, wherever they stand in a value."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from hitl.desk import wording
from hitl.text import json_html, redact, sanitize
from tests.unit.text.pages import Page

SECRET = "Zq7-never-shown-9"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "dbPassword",
        "user-password-hash",
        "API_KEY",
        "apiKey",
        "api-key",
        "api key",
        "client_secret",
        "accessToken",
        "Authorization",
        "pass\u200bword",
        "ｐａｓｓｗｏｒｄ",
        "to\u00adken",
        "비밀번호",
    ],
)
def test_names_of_secrets_are_masked_however_they_are_spelled(name: str) -> None:
    [found] = redact.masked({name: SECRET}).values()

    assert isinstance(found, redact.Masked)
    assert found.pattern in found.label


@pytest.mark.parametrize("name", ["amount", "passenger", "to", "keyboard", "author", "pinned"])
def test_other_names_are_shown(name: str) -> None:
    assert redact.masked({name: "x"}) == {name: "x"}


def test_patterns_are_the_deployments(settings: Settings) -> None:
    settings.HITL_REDACT = ["iban*"]

    shown = redact.masked({"IBAN_of_payer": SECRET, "password": "seen"})

    assert shown == {"IBAN_of_payer": redact.Masked("iban*"), "password": "seen"}


def test_secrets_in_a_text_that_is_json_are_masked() -> None:
    inner = json.dumps({"a": [{"token": SECRET}]})
    value = {"arguments": inner, "deeper": json.dumps([inner]), "other": '{ "a":1 }'}

    shown = redact.masked(value)

    assert SECRET not in json.dumps(shown)
    assert "masked by HITL_REDACT: *token*" in shown["arguments"]
    assert shown["other"] == '{ "a":1 }'
    assert SECRET not in json_html.html(value)


def in_texts(value: Any, texts: int) -> Any:
    for number in range(texts):
        value = {f"level{number}": json.dumps(value)}
    return value


@pytest.mark.parametrize("texts", range(9))
def test_no_form_of_the_page_looks_less_deep_than_another(texts: int) -> None:
    value = in_texts({"password": SECRET}, texts)
    masked = redact.masked(value)

    for page in (
        json_html.html(value),
        json_html.exact(masked, json.dumps(value)),
        json_html.pretty(masked),
    ):
        assert SECRET not in page
        assert '<span class="masked">masked by HITL_REDACT: ' in page
    assert ("too many texts" in json_html.pretty(masked)) is (texts > 3)


def test_text_that_spells_a_mask_looks_like_none() -> None:
    value = {"note": "⟨masked by HITL_REDACT: *token*⟩", "api_token": SECRET}
    masked = redact.masked(value)

    for page in (json_html.exact(masked, ""), json_html.pretty(masked)):
        assert page.count('<span class="masked">masked by HITL_REDACT: *token*</span>') == 1
        assert "⟨masked by HITL_REDACT: *token*⟩" in page


def test_name_is_compared_with_the_globs_once() -> None:
    redact._cached_match.cache_clear()

    redact.masked([{"a": 1, "b": 2}] * 1000)

    assert redact._cached_match.cache_info().misses == 2


@pytest.mark.parametrize(
    "value",
    [
        [{"a": n} for n in range(5000)],
        {f"k{n}": n for n in range(5000)},
        json.dumps([{"a": n} for n in range(5000)]),
        {"deep": {"l": [{"a": n} for n in range(5000)]}},
    ],
)
def test_a_row_reads_only_the_beginning_of_a_context(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    pattern_for = redact.pattern_for

    def counted(name: str) -> str | None:
        compared.append(name)
        return pattern_for(name)

    monkeypatch.setattr(redact, "pattern_for", counted)

    wording.parameters({f"l{n}": value for n in range(20)})

    assert 0 < len(compared) < 12 * 40


@pytest.mark.parametrize(
    ("value", "beginning"),
    [
        ("x" * 5000, "x" * 60),
        ({"a": [1, {}, [], "t"], "password": SECRET}, '{"a":[1,{},[],"t"],"password":"⟨masked'),
        (json.dumps([SECRET] * 500), f'["{SECRET}","{SECRET}"'),
        ({"t": json.dumps({"token": SECRET, "l": [1] * 999})}, '{"t":"{\\"token\\":\\"⟨masked'),
    ],
)
def test_beginning_of_a_value_is_masked_json(value: Any, beginning: str) -> None:
    assert redact.beginning(value, 60).startswith(beginning)


def test_texts_in_texts_of_any_depth_can_be_shown() -> None:
    value: Any = {"token": SECRET}
    for _ in range(9):
        for _ in range(60):
            value = [value]
        value = [json.dumps(value)]

    json_html.html(value)
    redact.spelled_out(redact.masked(value))


def test_value_itself_is_left_as_it_is() -> None:
    value = {"a": [{"token": SECRET}]}

    redact.masked(value)

    assert value == {"a": [{"token": SECRET}]}


_NAMES = st.sampled_from(["password", "Api-Key", "x_token_y", "Client Secret", "otp"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
_VALUES: Any = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def _values_with_a_secret(draw: Any) -> Any:
    """Return a value in which a secret of any shape stands somewhere under a secret's name."""
    secret: Any = draw(st.sampled_from([SECRET, [SECRET], {"x": {"y": SECRET}}, {SECRET: 1}]))
    value: Any = {**draw(st.dictionaries(st.text(max_size=6), _VALUES)), draw(_NAMES): secret}
    for _ in range(draw(st.integers(0, 8))):
        value = draw(st.sampled_from([lambda v: [0, v], lambda v: {"in": v}, lambda v: [v]]))(value)
    return value


@given(_values_with_a_secret())
def test_no_secret_is_in_the_html(value: Any) -> None:
    parameters = wording.parameters(value)
    pages = [
        json_html.html(value),
        sanitize.pretty(redact.spelled_out(redact.masked(value))),
        *(text for pair in [*parameters.first, *parameters.more] for text in pair),
    ]

    assert all(SECRET not in html.unescape(page) for page in pages)


@given(_VALUES)
def test_nothing_else_is_left_out(value: Any) -> None:
    def texts(part: Any) -> list[str]:
        if isinstance(part, dict):
            return [text for name, item in part.items() for text in [name, *texts(item)]]
        if isinstance(part, list):
            return [text for item in part for text in texts(item)]
        return [part] if isinstance(part, str) else [json.dumps(part)]

    page = Page(json_html.html(value)).all_text
    if all(redact.pattern_for(text) is None for text in texts(value)):
        assert all(
            sanitize.plain(line) in page
            for text in texts(value)
            for line in [text]
            if line.isprintable()
        )
