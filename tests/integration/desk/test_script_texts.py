"""The scripts' texts: each that a script names is there, in the reader's language."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.contrib.staticfiles import finders
from django.utils import translation

from hitl.desk import script_texts


def test_every_text_that_a_script_names_is_there_and_no_other() -> None:
    entry = finders.find("hitl/desk/inbox.js")
    assert isinstance(entry, str)
    scripts = "\n".join(path.read_text("utf-8") for path in Path(entry).parent.glob("*.js"))
    named = set(
        re.findall(r'(?<!/)\btexts\.(\w+)|\bsay\("(\w+)"|"(live|connecting|silent)"', scripts)
    )

    texts = json.loads(script_texts.as_json())

    assert {name for names in named for name in names if name} == set(texts)


def test_texts_are_in_the_readers_language_with_the_same_placeholders() -> None:
    english = json.loads(script_texts.as_json())
    with translation.override("ko"):
        korean = json.loads(script_texts.as_json())

    assert korean["live"] == "실시간"
    assert {name: text.count("{}") for name, text in korean.items()} == {
        name: text.count("{}") for name, text in english.items()
    }
