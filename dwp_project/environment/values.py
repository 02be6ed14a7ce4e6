"""Readers of plain values: texts, numbers, choices, lists, JSON."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

DEVELOPMENT = "development"
_TRUE, _FALSE = ("true", "on", "ok", "yes", "y", "1"), ("false", "off", "no", "n", "0")
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


class Values(environ.Env):  # type: ignore[misc, unused-ignore]
    """Plain values; what means nothing is an `ImproperlyConfigured`."""

    def __init__(self) -> None:
        super().__init__()
        # A copy, so that a wrong value can be read as if it were not set.
        self.ENVIRON = dict(os.environ)
        self.is_development = self.ENVIRON.get("DWP_ENVIRONMENT", DEVELOPMENT) == DEVELOPMENT

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, *args: Any, **kw: Any
    ) -> Any:
        """Return the value as it stands, or parsed by `cast`.

        django-environ's own takes `$X` for a reference to another variable, so that a secret can
        begin with no `$`, and any text for a boolean.
        """
        if var not in self.ENVIRON:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} is missing.")
            return default
        text = self.ENVIRON[var]
        if not _is_utf8(text):
            raise ImproperlyConfigured(f"{var} is not UTF-8.")
        try:
            if isinstance(cast, list):
                return [_PARSERS[cast[0]](item) for item in _items(text)]
            parse: Any = _PARSERS.get(cast or str, cast)
            return parse(text)
        except json.JSONDecodeError as exc:
            raise ImproperlyConfigured(f"{var} is not JSON: {exc}.") from exc
        except (ValueError, TypeError) as exc:
            raise ImproperlyConfigured(
                f"{var} is set to something unusable ({exc}). "
                "docs/reference/settings.md says what it takes."
            ) from exc

    def filled(self, var: str, *, default: str) -> str:
        """Return a text that is not empty."""
        text: str = self.str(var, default=default)
        if not text.strip() or not text.isprintable():
            raise ImproperlyConfigured(f"{var} is empty or unprintable. Set it, or leave it out.")
        return text

    def whole(self, var: str, *, default: int, least: int = 0, most: int = 1_000_000) -> int:
        """Return a whole number from `least` to `most`."""
        value: int = self.int(var, default=default)
        if var in self.ENVIRON and not least <= value <= most:
            raise ImproperlyConfigured(
                f"{var} must be a whole number from {least} to {most}, not {value}."
            )
        return value

    def seconds(self, var: str, *, default: float, least: float, most: float) -> float:
        """Return a number of seconds from `least` to `most`, fractions allowed."""
        value: float = self.float(var, default=default)
        if not least <= value <= most:
            raise ImproperlyConfigured(f"{var} must be from {least} to {most}, not {value}.")
        return value

    def choice(self, var: str, choices: Collection[str], *, default: str) -> str:
        """Return one of `choices`."""
        value: str = self.str(var, default=default)
        if value not in choices:
            raise ImproperlyConfigured(f"{var} is {value!r}. Set it to {' or '.join(choices)}.")
        return value

    def log_level(self, var: str, *, default: str) -> str:
        """Return the name of a level of Python's logging."""
        level: str = self.str(var, default=default)
        # NOTSET is 0: it names no level.
        if not logging.getLevelNamesMapping().get(level):
            raise ImproperlyConfigured(
                f"{var} is {level!r}. Set it to DEBUG, INFO, WARNING, ERROR or CRITICAL."
            )
        return level

    def folder(self, var: str, *, default: str) -> str:
        """Return the path of a folder that exists or can be made; empty counts as missing."""
        path: str = self.str(var, default="") or default
        there = next(p for p in (Path(path), *Path(path).absolute().parents) if os.path.lexists(p))
        if not os.path.isdir(there):  # False where it may not be looked at
            raise ImproperlyConfigured(f"{var} is {path}, but {there} is no folder.")
        return path

    def time_zone(self, var: str, *, default: str) -> str:
        """Return the name of a time zone that this machine knows."""
        name: str = self.str(var, default=default)
        if var in self.ENVIRON:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError, OSError) as exc:
                raise ImproperlyConfigured(
                    f"{var} is {name!r}, which is no time zone here. Set it like Asia/Seoul or UTC."
                ) from exc
        return name

    def dotted_path(self, var: str, *, default: str) -> str:
        """Return the dotted path of a class."""
        path: str = self.str(var, default=default)
        if not _DOTTED_PATH.fullmatch(path):
            raise ImproperlyConfigured(f"{var} is {path!r}. Set it like package.module.Class.")
        return path

    def json_object(self, var: str, *, default: dict[str, Any]) -> dict[str, Any]:
        """Return a JSON object."""
        value = self.json(var, default=default)
        if not isinstance(value, dict):
            raise ImproperlyConfigured(f'{var} must be a JSON object, such as {{"pace": 1}}.')
        return value


def _boolean(text: str) -> bool:
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _integer(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is no number")
    return value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: _boolean,
    int: _integer,
    float: _number,
    list: _items,
}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
