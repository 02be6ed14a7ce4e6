"""Verify the audit chains, compare the tables with them, and say what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from hitl.audit import compare, diagnose, triggers, verify
from hitl.audit.compare import ComparedTenant
from hitl.audit.difference import ComparedKind
from hitl.audit.verify import Verdict
from hitl.text import sanitize

# What the command ends with (commands.md); 1 is a break or a difference.
_UNCHECKED = 2
_UNVOUCHED = 3


class Command(BaseCommand):
    help = (
        "Verify every audit chain, or one tenant's, beside its checkpoints, and compare the tables "
        "with it. Exits with 0 (whole), 1 (broken, or a row differs), 2 (could not be verified) or "
        "3 (whole, but older records are not signed)."
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
        chosen, is_json = options["tenant"], options["json"]
        chains = verify.tenants()
        if chosen and chosen not in chains:
            raise CommandError(f"There is no chain of tenant {chosen}.", returncode=_UNCHECKED)
        chains = chains if chosen is None else [chosen]
        # A row may be of a tenant that has no chain.
        others = set(compare.tenants() if chosen is None else ()).difference(chains)
        compared: list[ComparedTenant] = []
        results = [self._verify(tenant, compared, is_json=is_json) for tenant in chains]
        for tenant in sorted(others):
            compared.append(tables := compare.compare_tenant(tenant))
            if is_json and tables.totals.compared:
                self.stdout.write(json.dumps(tables.as_json, ensure_ascii=False))
            elif not is_json:
                self._write_tables(tables)
        broken = [result for result in results if isinstance(result, diagnose.ChainBreak)]
        wrong = []
        if broken:
            first = broken[0]
            name = first.tenant_id or "(deployment)"
            wrong.append(f"Chain of {name} breaks at record {first.sequence}: {first.why}")
        if differences := [each for tables in compared for each in tables.differences]:
            count = sum(sum(tables.differing.values()) for tables in compared)
            wrong.append(f"Rows that differ from the audit: {count}. The first: {differences[0]}")
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
        self, tenant: str, compared: list[ComparedTenant], *, is_json: bool
    ) -> verify.IntactChain | diagnose.ChainBreak | None:
        """Verify one chain, compare the tables with it, and print the results.

        Appends the comparison to `compared`. Returns None if it could not be verified.
        """
        name = tenant or "(deployment)"
        try:
            result = verify.verify(tenant)
            tables = compare.compare_tenant(tenant)
        except Exception as exc:
            # The other chains are verified all the same.
            why = _message(exc)
            values = {"tenant": tenant, "holds": None, "verdict": Verdict.UNCHECKED, "why": why}
            text = json.dumps(values, ensure_ascii=False) if is_json else f"{name}: {why}"
            self.stdout.write(text)
            return None
        compared.append(tables)
        if is_json:
            line: dict[str, object] = {**verify.as_json(result), **tables.as_json}
            if tables.differing and isinstance(result, verify.IntactChain):
                line["verdict"] = Verdict.DIFFERS
            self.stdout.write(json.dumps(line, ensure_ascii=False))
            return result
        if isinstance(result, diagnose.ChainBreak):
            self.stdout.write(f"{name}: {result.kind} at record {result.sequence}. {result.why}")
        else:
            vouched = f"signed up to {result.vouched}" if result.vouched else "not signed"
            self.stdout.write(
                f"{name}: {result.records} records hold, head {result.head[:16]}…, {vouched}"
            )
            for note in result.notes:
                self.stdout.write(f"  {note}")
        self._write_tables(tables)
        return result

    def _write_tables(self, tables: ComparedTenant) -> None:
        if tables.totals.compared or tables.differing:
            rows = _counts(tables.totals.compared)
            count = sum(tables.differing.values())
            says = f"{count} differ" if count else "agree"
            name = tables.tenant_id or "(deployment)"
            self.stdout.write(f"  tables of {name} and audit: {says} ({rows})")
        for difference in tables.differences:
            self.stdout.write(f"  {sanitize.plain(str(difference))}")
        if tables.totals.not_comparable:
            rows = _counts(tables.totals.not_comparable)
            self.stdout.write(f"  not comparable, because older records say too little: {rows}")


def _counts(rows: Mapping[ComparedKind, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(rows.items()) if count)


def _message(exc: Exception) -> str:
    return f"It could not be verified: {type(exc).__name__}: {str(exc).strip()}"
