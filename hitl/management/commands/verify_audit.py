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


class Command(BaseCommand):
    help = (
        "Verify every audit chain, or one tenant's, beside its checkpoints, and compare the tables "
        "with it; exit 1 at a break or a difference."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's chain ('' is the deployment's)")
        parser.add_argument("--json", action="store_true", help="one JSON object for each chain")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["tenant"]
        chains = verify.tenants() if chosen is None else [chosen]
        # A row may be of a tenant that has no chain.
        others = set(compare.tenants() if chosen is None else ()).difference(chains)
        results, compared = [], []
        for tenant in chains:
            tables = compare.compare_tenant(tenant)
            results.append(self._verify(tenant, tables, is_json=options["json"]))
            compared.append(tables)
        for tenant in sorted(others):
            tables = compare.compare_tenant(tenant)
            compared.append(tables)
            if options["json"] and tables.totals.compared:
                self.stdout.write(json.dumps(tables.as_json, ensure_ascii=False))
            elif not options["json"]:
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
        if wrong:
            raise CommandError(" ".join(wrong))
        if not options["json"]:
            total = sum(
                result.records for result in results if isinstance(result, verify.IntactChain)
            )
            self.stdout.write(f"Every chain holds: {total} records.")

    def _verify(
        self, tenant: str, tables: ComparedTenant, *, is_json: bool
    ) -> verify.IntactChain | diagnose.ChainBreak:
        result = verify.verify(tenant)
        name = tenant or "(deployment)"
        if is_json:
            values = {**verify.as_json(result), **tables.as_json}
            self.stdout.write(json.dumps(values, ensure_ascii=False))
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
            self.stdout.write(f"  {difference}")
        if tables.totals.not_comparable:
            rows = _counts(tables.totals.not_comparable)
            self.stdout.write(f"  not comparable, because older records say too little: {rows}")


def _counts(rows: Mapping[ComparedKind, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(rows.items()) if count)
