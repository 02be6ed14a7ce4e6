"""Make a restored or copied database a deployment of its own: a new id, new session keys."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from dwp_project import clocks
from dwp_project.deployment import identity
from hitl.actors import system_actor
from hitl.adoption import redis_requests
from hitl.audit import record
from hitl.delivery import deployments, resync
from hitl.models import ApprovalRequest
from hitl.states import AuditEvent, Status
from hitl.text import sanitize
from streaming import leases, sessions

# How many requests are named. Chosen: what a person reads.
_MOST_NAMED = 20
# How many of them are read at once. Chosen: SQLite takes so many ids in one query everywhere.
_AT_ONCE = 100


class Command(BaseCommand):
    help = (
        "To be run once after a backup was restored, a lagging replica promoted, or a database "
        "copied, before its servers start: gives the deployment a new id and every session a new "
        "key, so that what open tabs and Redis remember leads nowhere wrong. Audited."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--force",
            action="store_true",
            help="although a server seems to run; those that do keep the old id until they restart",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if _is_unmigrated():
            raise CommandError("The database is of another version: run `manage.py migrate` first.")
        if leases.is_any_held() and not options["force"]:
            raise CommandError(
                "A server of this database runs: it has leased a session within the last "
                f"{leases.TTL_SECONDS:.0f} seconds. Stop every server, wait that long, and run "
                "this again. If none runs: --force"
            )
        if not options["force"] and _is_any_beating():
            raise CommandError(
                "A process of this database runs, or has ended just now: Redis has a beat of it "
                f"(`serve` and `relay` beat) within the last {deployments.GONE_SECONDS:.0f} "
                "seconds. Stop every process, wait that long, and run this again. If none runs: "
                "--force"
            )
        with transaction.atomic():
            before, after = identity.stored(), identity.renew()
            count = sessions.renew_keys()
            details = {"deployment": after, "deploymentBefore": before, "sessions": count}
            record.write(
                AuditEvent.DEPLOYMENT_RENEWED, system_actor(""), clocks.now(), details=details
            )
        self.stdout.write(
            f"This deployment is {after} now; it was {before}.\n"
            f"{count} sessions have new keys: whoever comes back with an event id of before starts "
            "a new session."
        )
        self._write_decided_before()
        self.stdout.write(
            "Now run `manage.py verify_audit`, and then start the servers. Never start one on the "
            "database that this is a copy of, unless it is to be a deployment beside this one."
        )

    def _write_decided_before(self) -> None:
        """Name the pending requests that Redis still has as decided, and have it forget that."""
        pending = ApprovalRequest.objects.undecided_at(clocks.now())
        names = list(pending.order_by("pk").values_list("request_id", flat=True))
        try:
            decided = [
                (name, status)
                for name, status in zip(names, redis_requests.read_statuses(names), strict=True)
                if status not in (None, Status.PENDING)
            ]
            _forget([name for name, _ in decided])
        except RedisError as exc:
            self.stdout.write(
                f"Redis cannot be reached ({exc}), so it is not known which of the {len(names)} "
                "pending requests were decided already, after the backup. Redis goes on saying so "
                "for half an hour, and for five minutes to agents that poll signals. Once it can "
                "be reached, run this again, before the servers start."
            )
            return
        if not decided:
            self.stdout.write(f"Of {len(names)} pending requests, Redis has none as decided.")
            return
        self.stdout.write(
            f"{len(decided)} of {len(names)} pending requests were decided already, after the "
            "backup, as Redis has them. They will be asked again, although their agents may have "
            "acted. Look before you approve:"
        )
        for name, status in decided[:_MOST_NAMED]:
            self.stdout.write(f"  {sanitize.plain(name)}: {sanitize.plain(status)}")
        if len(decided) > _MOST_NAMED:
            self.stdout.write(f"  and {len(decided) - _MOST_NAMED} more")


def _is_any_beating() -> bool:
    try:
        return deployments.is_any_running()
    except RedisError:
        return False  # without Redis, leases are all there is to go by


def _forget(names: list[str]) -> None:
    for start in range(0, len(names), _AT_ONCE):
        rows = ApprovalRequest.objects.filter(request_id__in=names[start : start + _AT_ONCE])
        resync.forget_lost_ends(list(rows))


def _is_unmigrated() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
