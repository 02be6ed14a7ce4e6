"""Collects everything that is wrong with the environment, so that one start names all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import ImproperlyConfigured

from dwp_project.environment import Environment

T = TypeVar("T")


class Required(NamedTuple):
    """What a deployed process does not make up for itself."""

    # Any of these is enough.
    variables: tuple[str, ...]
    hint: str
    # What an earlier version used instead, if it is in DATA_DIR, and how to go on with it.
    generated: str = ""
    go_on: str = ""


_REQUIRED = (
    Required(
        ("DATABASE_URL",),
        "Set it like postgres://user:password@host:5432/name.",
        "dwp.sqlite3",
        "DATABASE_URL=sqlite:///{}",
    ),
    Required(
        ("REDIS_URL",),
        "Set it like redis://127.0.0.1:6379/0: outside development no Redis is started.",
    ),
    Required(
        ("JWT_SECRET",),
        "Set it to the secret that all issuers of tokens share.",
        "jwt_secret",
        "JWT_SECRET=<the content of {}>",
    ),
    Required(
        ("DJANGO_SECRET_KEY",),
        "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
        "django_secret_key",
        "DJANGO_SECRET_KEY=<the content of {}>",
    ),
    Required(
        ("AUDIT_SIGNING_KEY_FILE", "AUDIT_SIGNING_KEY"),
        "Make one with: openssl genpkey -algorithm ed25519",
        "audit_signing_key",
        "AUDIT_SIGNING_KEY_FILE={}",
    ),
)


class Configuration:
    """An `Environment` whose readers raise nothing: `finish` refuses everything that is wrong.

    A value that is wrong is read as if it were not set.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._problems: list[str] = []

    def __contains__(self, var: str) -> bool:
        """Say whether a variable is set, and was not refused."""
        return var in self._environment.ENVIRON

    def __getattr__(self, name: str) -> Any:
        """Return the reader of that name, or the attribute."""
        reader = getattr(self._environment, name)
        return partial(self._read, reader) if callable(reader) else reader

    def require(self, data_dir: Path) -> None:
        """Outside development, refuse what would be embedded or generated under `data_dir`."""
        if self._environment.is_development:
            return
        for needed in _REQUIRED:
            if any(os.environ.get(variable) for variable in needed.variables):
                continue
            for variable in needed.variables:
                # Empty is missing, and is to be named once.
                self._environment.ENVIRON.pop(variable, None)
            problem = f"{' or '.join(needed.variables)} is missing. {needed.hint}"
            file = data_dir / needed.generated
            if needed.generated and file.exists():
                problem = problem.removesuffix(".")
                problem += f". To go on with what was used so far: {needed.go_on.format(file)}"
            self.refuse(problem)

    def generate(self, make: Callable[[], str]) -> str:
        """Return what `make` returns; "" if nothing will start with it anyway."""
        return self.attempt(make, "") if not self._problems else ""

    def attempt(self, call: Callable[[], T], default: T) -> T:
        """Return what `call` returns; `default` if it raises `ImproperlyConfigured`."""
        try:
            return call()
        except ImproperlyConfigured as exc:
            self.refuse(str(exc))
            return default

    def refuse(self, problem: str) -> None:
        """Note what is wrong, in one or two sentences that say what would be right."""
        self._problems.append(" ".join(problem.split()))

    def finish(self) -> None:
        """Raise `ImproperlyConfigured` with everything that is wrong, a line each."""
        if self._problems:
            lines = [f"- {problem}" for problem in self._problems]
            raise ImproperlyConfigured("\n".join(["nothing is started.", *lines]))

    def _read(self, reader: Callable[..., Any], var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return reader(var, *args, **kwargs)
        except ImproperlyConfigured as exc:
            self.refuse(str(exc))
        self._environment.ENVIRON.pop(var, None)
        with suppress(ImproperlyConfigured):
            return reader(var, *args, **kwargs)
        return kwargs.get("default")
