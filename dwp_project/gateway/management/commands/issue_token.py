"""Mint a token for a user of a tenant."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dwp_project.gateway import tokens
from dwp_project.gateway.roles import USER, Role


class Command(BaseCommand):
    help = "Print a token and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="the token's sub")
        parser.add_argument("--tenant", required=True, help="the token's tenant_id")
        parser.add_argument(
            "--role", choices=[USER, *Role.values], help="default: none named, membership decides"
        )
        parser.add_argument("--hours", type=float, default=1.0, help="lifetime, default 1")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("user", "tenant"):
            if not tokens.is_identifier(options[name]):
                raise CommandError(f"--{name} must be printable text of 1 to 255 characters")
        try:
            token = tokens.issue(
                options["user"],
                options["tenant"],
                options["role"],
                lifetime_seconds=int(options["hours"] * 3600),
            )
        except (ValueError, OverflowError) as exc:
            raise CommandError(f"--hours: {exc}") from exc
        self.stdout.write(token)
