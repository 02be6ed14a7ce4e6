"""Readers of secrets and of the audit's key."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from dwp_project import strength
from dwp_project.environment.values import Values

# Chosen: a change of keys needs one.
_MOST_FALLBACKS = 4
_SEED_BYTES = 32
_MAKE_A_SECRET = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105


class Secrets(Values):
    """Secrets that sign, those that only verify, and the audit's signing key."""

    def secret(
        self,
        var: str,
        *,
        default: str = "",
        least: int = strength.MIN_SECRET_BYTES,
        in_development: int = 1,
    ) -> str:
        """Return a secret of at least `least` bytes (`in_development` there); empty counts as
        missing."""
        value: str = self.str(var, default="")
        if value and (weakness := self._weakness_of(value, least, in_development)):
            raise ImproperlyConfigured(f"{var} {weakness}. {_MAKE_A_SECRET}")
        return value or default

    def fallback_secrets(
        self, var: str, *, default: list[str], in_development: int = 1
    ) -> list[str]:
        """Return the secrets that only verify; each has to be as strong as the one that signs."""
        values: list[str] = self.list(var, default=default)
        if len(values) > _MOST_FALLBACKS:
            raise ImproperlyConfigured(
                f"{var} has {len(values)} secrets, and {_MOST_FALLBACKS} are the most. Leave out "
                "those that signed nothing that is still valid."
            )
        for value in values:
            least = strength.MIN_SECRET_BYTES
            if weakness := self._weakness_of(value, least, in_development):
                raise ImproperlyConfigured(
                    f"{var} has a secret that {weakness}. Leave it out, and what it signed is "
                    "refused."
                )
        return values

    def signing_key(self, var: str, *, file_var: str) -> str:
        """Return the text of a signing key, or "" where `file_var` names its file."""
        text: str = self.str(var, default="", multiline=True)
        file: str = self.str(file_var, default="")
        if text and file:
            raise ImproperlyConfigured(f"{var} and {file_var} are both set. Set one.")
        name = file_var if file else var
        key = text
        if file:
            try:
                key = Path(file).read_text(encoding="ascii")
            except (OSError, ValueError) as exc:
                reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
                raise ImproperlyConfigured(f"{file_var} {file} cannot be read: {reason}.") from exc
        # What is PEM, the system check of the audit's keys parses.
        if (text or file) and "-----BEGIN" not in key:
            seed = b""
            with suppress(ValueError):
                seed = base64.b64decode(key.strip(), validate=True)
            if len(seed) != _SEED_BYTES:
                raise ImproperlyConfigured(
                    f"{name} holds no Ed25519 key: neither an unencrypted PEM (PKCS 8) nor the "
                    "base64 of 32 bytes. Make one with: openssl genpkey -algorithm ed25519"
                )
            weakness = strength.weakness_of(seed.decode("latin-1"))
            if weakness and not self.is_development:
                raise ImproperlyConfigured(
                    f"{name} {weakness}. Make one with: openssl genpkey -algorithm ed25519"
                )
        return text

    def _weakness_of(self, value: str, least: int, in_development: int) -> str | None:
        if self.is_development:
            return strength.too_short(value, in_development)
        return strength.weakness_of(value, least=least)
