"""Verify the audit chains and say where one breaks."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from hitl.audit import diagnose, triggers, verify
from hitl.audit.verify import Verdict

# What the command ends with (commands.md); 1 is a break.
_UNCHECKED = 2
_UNVOUCHED = 3


class Command(BaseCommand):
    help = (
        "Verify every audit chain, or one tenant's, beside its checkpoints. Exits with 0 (whole), "
        "1 (broken), 2 (could not be verified) or 3 (whole, but older records are not signed)."
    )
    # A key that cannot be used ends this with 2, and not with the 1 of a failed system check.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")
        parser.add_argument("--json", action="store_true", help="one JSON object for each chain")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._verify_all(options)
        except CommandError:
            raise
        except Exception as exc:
            raise CommandError(_message(exc), returncode=_UNCHECKED) from exc

    def _verify_all(self, options: dict[str, Any]) -> None:
        chosen = options["tenant"]
        tenants = verify.tenants()
        if chosen and chosen not in tenants:
            raise CommandError(f"There is no chain of tenant {chosen}.", returncode=_UNCHECKED)
        results = [
            self._verify(tenant, is_json=options["json"])
            for tenant in (tenants if chosen is None else [chosen])
        ]
        broken = [result for result in results if isinstance(result, diagnose.ChainBreak)]
        wrong = []
        if broken:
            first = broken[0]
            name = first.tenant_id or "(deployment)"
            wrong.append(f"Chain of {name} breaks at record {first.sequence}: {first.why}")
        if missing := triggers.missing(connection):
            wrong.append(
                f"The audit table has lost its trigger {', '.join(missing)}: "
                "it can be changed. Find out since when, then install it again."
            )
        if changed := triggers.changed(connection):
            wrong.append(
                f"The audit table's trigger {', '.join(changed)} is not the one that was "
                "installed. Find out since when, then install it again."
            )
        if wrong:
            raise CommandError(" ".join(wrong))
        if None in results:
            raise CommandError("Not every chain could be verified.", returncode=_UNCHECKED)
        unvouched = [
            result.tenant_id or "(deployment)"
            for result in results
            if isinstance(result, verify.IntactChain) and result.verdict is Verdict.UNVOUCHED
        ]
        if unvouched:
            raise CommandError(
                "Every chain holds, but no trusted signature outside the database vouches for "
                f"older records of {', '.join(unvouched)}.",
                returncode=_UNVOUCHED,
            )
        if not options["json"]:
            whole = [result for result in results if isinstance(result, verify.IntactChain)]
            total = sum(result.records for result in whole)
            count = sum(len(result.acknowledged_breaks) for result in whole)
            breaks = f", with {count} acknowledged break{'s' * (count != 1)}" if count else ""
            self.stdout.write(f"Every chain holds: {total} records{breaks}.")

    def _verify(
        self, tenant: str, *, is_json: bool
    ) -> verify.IntactChain | diagnose.ChainBreak | None:
        """Verify one chain and print the result; return None if it could not be verified."""
        name = tenant or "(deployment)"
        try:
            result = verify.verify(tenant)
        except Exception as exc:
            # The other chains are verified all the same.
            values = {"tenant": tenant, "holds": None, "verdict": Verdict.UNCHECKED}
            line = json.dumps(values | {"why": _message(exc)}, ensure_ascii=False)
            self.stdout.write(line if is_json else f"{name}: {_message(exc)}")
            return None
        if is_json:
            line = json.dumps(verify.as_json(result), ensure_ascii=False)
            self.stdout.write(line)
        elif isinstance(result, diagnose.ChainBreak):
            self.stdout.write(f"{name}: {result.kind} at record {result.sequence}. {result.why}")
        else:
            vouched = f"signed up to {result.vouched}" if result.vouched else "not signed"
            self.stdout.write(
                f"{name}: {result.records} records hold, head {result.head[:16]}…, {vouched}"
            )
            for note in result.notes:
                self.stdout.write(f"  {note}")
        return result


def _message(exc: Exception) -> str:
    return f"It could not be verified: {type(exc).__name__}: {str(exc).strip()}"
