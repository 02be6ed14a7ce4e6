"""What somebody could change behind the audit's back, who could, and what verification says of it.

`ROWS` are statements that need no more than the application's own rights. The others are calls: on
the audit's own tables, its triggers and its files, some of which need the owner's rights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from django.db import connection
from django.utils import timezone

from hitl.audit import checkpoint_files, record_signatures, triggers
from hitl.audit.hashing import hash_of
from hitl.models import (
    ApprovalRequest,
    AuditChain,
    AuditCheckpoint,
    AuditRecord,
    OutboxEntry,
    SessionOwner,
)
from hitl.states import AuditEvent
from tests.integration.audit.strays import fitting_stray, head_of, stray, stray_behind_head
from tests.people import TENANT

# Kind, name and column of each row that differs; or "chain", tenant and kind of the break; or
# "trigger" and its name; or "unvouched" and the tenant.
Names = set[tuple[str, ...]]


class By(StrEnum):
    """Whose rights somebody needs."""

    APPLICATION = "the application's SQL user"
    OWNER = "the owner of the tables"
    FILES = "whoever can write to the checkpoint files"


@dataclass(frozen=True, slots=True)
class Tampering:
    """Something that is done, and what `verify_audit` ends with and names then."""

    by: By
    do: Callable[[], object]
    code: int
    names: Names


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def no_triggers() -> Iterator[None]:
    """Remove the triggers, as only the owner of the tables can, and install them again."""
    triggers.remove(connection)
    yield
    triggers.install(connection)


# --- rows of other tables -------------------------------------------------------------------


def set_request(name: str, **values: str) -> str:
    changes = ", ".join(f"{column} = {value}" for column, value in values.items())
    return f"UPDATE hitl_approvalrequest SET {changes} WHERE request_id = '{name}'"  # noqa: S608


def of_request(name: str) -> str:
    return f"(SELECT id FROM hitl_approvalrequest WHERE request_id = '{name}')"  # noqa: S608


COPIED = (
    "session_id, tenant_id, user_id, origin, agent_id, action_type, message, context_text, "
    "context_digest, body_digest, status, created_at, expires_at, decided_at, decided_by, "
    "decided_channel, reason, approvals, policy_id"
)
INVENTED = (
    f"INSERT INTO hitl_approvalrequest (request_id, {COPIED}) "  # noqa: S608
    f"SELECT 'invented', {COPIED} FROM hitl_approvalrequest WHERE request_id = 'approved'"
)
FORGED_SIGNAL = (
    "INSERT INTO hitl_outboxentry (request_id, signal, created_at, attempts, receivers, outcome, "
    'due_at, error) SELECT id, \'{"type":"approval","requestId":"pending",'
    '"status":"approved","timestamp":1}\', created_at, 0, 0, \'pending\', created_at, \'\' '
    "FROM hitl_approvalrequest WHERE request_id = 'pending'"
)
VOTE_COLUMNS = "user_id, person, role, channel, voted_at"
ROWS: dict[str, tuple[str, Names]] = {
    "status flipped": (
        set_request("rejected", status="'approved'"),
        {("request", "rejected", "status")},
    ),
    "decided without a decision": (
        set_request(
            "pending", status="'approved'", decided_at="created_at", decided_by="'approver1'"
        ),
        {("request", "pending", column) for column in ("status", "decided_at", "decided_by")},
    ),
    "decision undone": (
        set_request("cancelled", status="'pending'", decided_at="NULL"),
        {("request", "cancelled", "status"), ("request", "cancelled", "decided_at")},
    ),
    "decider": (
        set_request("approved", decided_by="'kim'"),
        {("request", "approved", "decided_by")},
    ),
    "time of the decision": (
        set_request("approved", decided_at="created_at"),
        {("request", "approved", "decided_at")},
    ),
    "channel of the decision": (
        set_request("approved", decided_channel="'admin'"),
        {("request", "approved", "decided_channel")},
    ),
    "reason": (set_request("rejected", reason="'ok'"), {("request", "rejected", "reason")}),
    "comment": (
        set_request("approved", comment="'ok'"),
        {("request", "approved", "comment")},
    ),
    "comment without an approval": (
        set_request("pending", comment="'ok'"),
        {("request", "pending", "comment")},
    ),
    "context": (
        set_request("pending", context_text="'{\"count\":300}'"),
        {("request", "pending", "context")},
    ),
    "context that is no JSON": (
        set_request("pending", context_text="'{'"),
        {("request", "pending", "context")},
    ),
    "digest of the context": (
        set_request("approved", context_digest="'0'"),
        {("request", "approved", "context")},
    ),
    "message": (
        set_request("approved", message="'Delete nothing?'"),
        {("request", "approved", "message")},
    ),
    "tenant": (
        set_request("approved", tenant_id="'tenant2'"),
        {("request", "approved", "tenant")},
    ),
    "requester": (set_request("pending", user_id="'kim'"), {("request", "pending", "user")}),
    "requester of an agent on Redis": (
        set_request("adopted", user_id="'kim'"),
        {("request", "adopted", "user")},
    ),
    "agent": (set_request("adopted", agent_id="'agent-8'"), {("request", "adopted", "agent")}),
    "action": (
        set_request("pending", action_type="'pay_bill'"),
        {("request", "pending", "action")},
    ),
    "origin": (set_request("pending", origin="'redis'"), {("request", "pending", "origin")}),
    "session": (
        set_request("pending", session_id="'session-many'"),
        {("request", "pending", "session")},
    ),
    "time of the opening": (
        set_request("pending", created_at="expires_at"),
        {("request", "pending", "created_at")},
    ),
    "term": (
        set_request("pending", expires_at="'2999-01-01 00:00:00+00:00'"),
        {("request", "pending", "expires_at")},
    ),
    "term after an escalation": (
        set_request("escalated", expires_at="'2999-01-01 00:00:00+00:00'"),
        {("request", "escalated", "expires_at")},
    ),
    "escalated without an escalation": (
        set_request("pending", escalated_at="created_at"),
        {("request", "pending", "escalated_at")},
    ),
    "policy taken away": (
        set_request("one-vote", policy_id="NULL"),
        {("request", "one-vote", "policy"), ("request", "one-vote", "rule")},
    ),
    "another version of the policy": (
        set_request(
            "one-vote", policy_id="(SELECT id FROM hitl_policy WHERE pattern = 'merge_*' LIMIT 1)"
        ),
        {("request", "one-vote", "policy"), ("request", "one-vote", "rule")},
    ),
    "request invented": (INVENTED, {("request", "invented", "invented")}),
    "request renamed": (
        set_request("pending", request_id="'invented'"),
        {("request", "invented", "invented"), ("request", "pending", "deleted")},
    ),
    "request deleted": (
        "DELETE FROM hitl_approvalrequest WHERE request_id = 'pending'",
        {("request", "pending", "deleted")},
    ),
    "votes counted that nobody gave": (
        set_request("one-vote", approvals="2"),
        {("vote", "one-vote", "approvals")},
    ),
    "vote invented": (
        f"INSERT INTO hitl_vote (request_id, {VOTE_COLUMNS}) "  # noqa: S608
        f"SELECT {of_request('one-vote')}, 'kim', 'kim', 'approver', 'rest', voted_at "
        f"FROM hitl_vote WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "vote of somebody else": (
        "UPDATE hitl_vote SET user_id = 'kim', person = 'kim' "  # noqa: S608
        f"WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "person behind a vote, who could vote again": (
        "UPDATE hitl_vote SET person = 'kim' "  # noqa: S608
        f"WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "vote deleted": (
        f"DELETE FROM hitl_vote WHERE request_id = {of_request('two-votes')} "  # noqa: S608
        "AND user_id = 'approver2'",
        {("vote", "two-votes", "votes")},
    ),
    "signal of a request that is pending": (FORGED_SIGNAL, {("outbox", "pending", "invented")}),
    "signal rewritten": (
        "UPDATE hitl_outboxentry SET signal = replace(replace(signal, 'rejection', 'approval'), "  # noqa: S608
        f"'rejected', 'approved') WHERE request_id = {of_request('rejected')}",
        {("outbox", "rejected", "signal")},
    ),
    "signal never sent": (
        "UPDATE hitl_outboxentry SET outcome = 'delivered', attempts = 0 "  # noqa: S608
        f"WHERE request_id = {of_request('approved')}",
        {("outbox", "approved", "outcome")},
    ),
    "signal deleted": (
        f"DELETE FROM hitl_outboxentry WHERE request_id = {of_request('approved')}",  # noqa: S608
        {("outbox", "approved", "deleted")},
    ),
    "owner of a session": (
        "UPDATE hitl_sessionowner SET user_id = 'kim' WHERE session_id = 'session-pending'",
        {("session", "session-pending", "user")},
    ),
    "tenant of a session": (
        "UPDATE hitl_sessionowner SET tenant_id = 'tenant2' WHERE session_id = 'session-many'",
        {("session", "session-many", "tenant")},
    ),
    "session without an owner": (
        "DELETE FROM hitl_sessionowner WHERE session_id = 'session-pending'",
        {("session", "session-pending", "deleted")},
    ),
    "rule of a policy": (
        "UPDATE hitl_policy SET min_approvals = 1 WHERE pattern = 'delete_*' AND version = 2",
        {
            ("policy", "delete_* v2", "rule"),
            *(
                ("request", name, "rule")
                for name in ("one-vote", "two-votes", "vote-and-no", "adopted", "answered")
            ),
            *(("request", f"many-{number}", "rule") for number in range(2)),
        },
    ),
    "risk of a policy": (
        "UPDATE hitl_policy SET risk = 'critical' WHERE pattern = 'merge_*' AND version = 1",
        {("policy", "merge_* v1", "rule")},
    ),
    "risk taken from a policy": (
        "UPDATE hitl_policy SET risk = '' WHERE pattern = 'pay_*'",
        {
            ("policy", "pay_* v1", "rule"),
            *(("request", name, "rule") for name in ("escalated", "decided-late", "expired-late")),
        },
    ),
    "policy retired": (
        "UPDATE hitl_policy SET is_retired = (1 = 1) WHERE pattern = 'pay_*'",
        {("policy", "pay_* v1", "is_retired")},
    ),
    "policy revived": (
        "UPDATE hitl_policy SET is_retired = (1 = 0) WHERE pattern = 'merge_*' AND is_current",
        {("policy", "merge_* v2", "is_retired")},
    ),
    "policy switched off": (
        "UPDATE hitl_policy SET is_current = (1 = 0) WHERE pattern = 'pay_*'",
        {("policy", "pay_* v1", "is_current")},
    ),
    "policy invented": (
        "INSERT INTO hitl_policy (tenant_id, pattern, version, min_approvals, forbid_requester, "
        "required_role, on_timeout, escalate_to_role, reason_required, is_current, is_retired, "
        "created_at, created_by) SELECT tenant_id, '*', 1, 1, forbid_requester, '', 'expire', '', "
        "reason_required, is_current, is_retired, created_at, created_by FROM hitl_policy "
        "WHERE pattern = 'pay_*'",
        {("policy", "* v1", "invented")},
    ),
    "policy deleted": (
        "DELETE FROM hitl_policy WHERE pattern = 'merge_*' AND version = 2",
        {("policy", "merge_* v2", "deleted")},
    ),
    "role of a member": (
        "UPDATE gateway_membership SET role = 'admin' WHERE role = 'approver'",
        {("membership", "desk2", "role")},
    ),
    "membership invented": (
        "INSERT INTO gateway_membership (user_id, tenant_id, role, created_at) "
        "SELECT user_id, 'tenant2', 'admin', created_at FROM gateway_membership "
        "WHERE role = 'approver'",
        {("membership", "desk2", "invented")},
    ),
    "membership in a tenant that never was": (
        "UPDATE gateway_membership SET tenant_id = 'tenant9' WHERE role = 'approver'",
        {("membership", "desk2", "invented"), ("membership", "desk2", "deleted")},
    ),
    "membership deleted": (
        "DELETE FROM gateway_membership WHERE role = 'approver'",
        {("membership", "desk2", "deleted")},
    ),
    "superuser": (
        "UPDATE auth_user SET is_superuser = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isSuperuser")},
    ),
    "account switched on": (
        "UPDATE auth_user SET is_active = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isActive")},
    ),
    "account of the staff": (
        "UPDATE auth_user SET is_staff = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isStaff")},
    ),
    "account renamed": (
        "UPDATE auth_user SET username = 'kim' WHERE username = 'root'",
        {("account", "kim", "invented"), ("account", "root", "deleted")},
    ),
    "account invented": (
        "INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, "
        "last_name, email, date_joined) SELECT 'kim', password, is_superuser, is_staff, is_active, "
        "'', '', '', date_joined FROM auth_user WHERE username = 'root'",
        {("account", "kim", "invented")},
    ),
}


# --- records, as the application's user -----------------------------------------------------


def broken(kind: str, tenant: str = TENANT) -> Names:
    return {("chain", tenant, kind)}


def set_head(sequence: int, digest: str = "ab" * 32) -> None:
    AuditChain.objects.filter(tenant_id=TENANT).update(last_sequence=sequence, last_hash=digest)


def _append() -> None:
    """Append a record whose hashes fit, and move the head to it."""
    entry = fitting_stray()
    set_head(entry.sequence, entry.hash)


def _append_with_signature_of_another() -> None:
    head = head_of()
    signed = AuditRecord.objects.get(tenant_id=TENANT, sequence=head.last_sequence)
    entry = AuditRecord.objects.get(pk=signed.pk)
    entry.pk, entry.sequence, entry.previous_hash = None, head.last_sequence + 1, head.last_hash
    entry.hash = hash_of(entry)
    entry.save(force_insert=True)
    set_head(entry.sequence, entry.hash)


def _append_of_an_old_form() -> None:
    head = head_of()
    entry = stray(head.last_sequence + 1, previous_hash=head.last_hash)
    with no_triggers():
        entry.form = 2
        entry.hash = hash_of(entry)
        entry.save()
    set_head(entry.sequence, entry.hash)


def _set_head_back() -> None:
    """Set the head back by one, as if the last record had never been."""
    before = AuditRecord.objects.get(tenant_id=TENANT, sequence=head_of().last_sequence - 1)
    set_head(before.sequence, before.hash)


def _acknowledge_in_vain() -> None:
    details = (
        '{"after":1,"head":{"hash":"","sequence":1},"kind":"inserted","outside":[],"reason":"",'
        '"records":[],"skipped":0,"skippedDigest":""}'
    )
    stray(head_of().last_sequence + 5, event=AuditEvent.BREAK_ACKNOWLEDGED, details=details)


RECORDS = {
    "record that fits the end": Tampering(By.APPLICATION, _append, 1, broken("unsigned")),
    "record with the signature of another": Tampering(
        By.APPLICATION, _append_with_signature_of_another, 1, broken("unsigned")
    ),
    "record behind the head": Tampering(By.APPLICATION, stray_behind_head, 1, broken("inserted")),
    "record far behind the head": Tampering(
        By.APPLICATION, lambda: stray_behind_head(by=50_000), 1, broken("inserted")
    ),
    "record before the first": Tampering(By.APPLICATION, lambda: stray(0), 1, broken("inserted")),
    "record with a negative number": Tampering(
        By.APPLICATION, lambda: stray(-7), 1, broken("inserted")
    ),
    "record in a tenant that never was": Tampering(
        By.APPLICATION, lambda: stray(1, tenant_id="tenant9"), 1, broken("inserted", "tenant9")
    ),
    "acknowledgement that nobody gave": Tampering(
        By.APPLICATION, _acknowledge_in_vain, 1, broken("inserted")
    ),
    "head set back": Tampering(By.APPLICATION, _set_head_back, 1, broken("inserted")),
    "head set forward": Tampering(
        By.APPLICATION,
        lambda: set_head(head_of().last_sequence + 3, head_of().last_hash),
        1,
        broken("truncated"),
    ),
    "hash of the head": Tampering(
        By.APPLICATION, lambda: set_head(head_of().last_sequence), 1, broken("edited")
    ),
    "head removed": Tampering(
        By.APPLICATION,
        lambda: AuditChain.objects.filter(tenant_id=TENANT).delete(),
        1,
        broken("inserted"),
    ),
}

# --- records and triggers, as the owner -----------------------------------------------------


def _records() -> list[AuditRecord]:
    return list(AuditRecord.objects.filter(tenant_id=TENANT).order_by("sequence"))


def _edit(*, behind_checkpoint: bool, fits: bool = False, rewrites: bool = False) -> None:
    """Change who did something; with `fits` its hash too, with `rewrites` all hashes after it."""
    at = _signed() + 2 if behind_checkpoint else _signed() - 2
    with no_triggers():
        previous = ""
        for entry in _records()[at - 1 :]:
            if entry.sequence == at:
                entry.actor = "mallory"
            elif not rewrites:
                break
            else:
                entry.previous_hash = previous
            entry.hash = previous = hash_of(entry) if fits or rewrites else entry.hash
            entry.save()
        if rewrites:
            set_head(head_of().last_sequence, previous)


def _signed() -> int:
    return AuditCheckpoint.objects.filter(tenant_id=TENANT).latest("sequence").sequence


def _remove() -> None:
    with no_triggers():
        AuditRecord.objects.filter(tenant_id=TENANT, sequence=_signed() - 2).delete()


def _cut_off(*, after: int) -> None:
    """Cut a chain's end off, and set its head to match."""
    with no_triggers():
        AuditRecord.objects.filter(tenant_id=TENANT, sequence__gt=after).delete()
    end = AuditRecord.objects.get(tenant_id=TENANT, sequence=after)
    set_head(end.sequence, end.hash)


def _undo_what_is_signed() -> None:
    """Take back a young decision, records that are signed, and what signed them."""
    _undo_a_decision()
    _cut_off(after=_signed() - 1)
    AuditCheckpoint.objects.filter(tenant_id=TENANT).delete()


def _exchange() -> None:
    first, second = _records()[_signed() : _signed() + 2]
    with no_triggers():
        AuditRecord.objects.filter(pk=first.pk).update(sequence=-1)
        AuditRecord.objects.filter(pk=second.pk).update(sequence=first.sequence)
        AuditRecord.objects.filter(pk=first.pk).update(sequence=second.sequence)


def _unsign() -> None:
    with no_triggers():
        AuditRecord.objects.filter(tenant_id=TENANT, sequence=_signed() + 1).update(signature="")


def _remove_tenant() -> None:
    OutboxEntry.objects.filter(request__tenant_id="tenant2").delete()
    with no_triggers():
        for model in (ApprovalRequest, SessionOwner, AuditRecord, AuditChain, AuditCheckpoint):
            model.objects.filter(tenant_id="tenant2").delete()


_TRIGGER = {"sqlite": "audit_no_update", "postgresql": "audit_no_change"}[connection.vendor]
_ON_TABLE = " ON hitl_auditrecord" if connection.vendor == "postgresql" else ""
_HARMLESS = {
    "sqlite": "CREATE TRIGGER audit_no_update BEFORE UPDATE ON hitl_auditrecord "
    "BEGIN SELECT 1; END",
    "postgresql": "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON hitl_auditrecord "
    "FOR EACH ROW WHEN (false) EXECUTE FUNCTION audit_refuse()",
}[connection.vendor]


def _replace_trigger() -> None:
    run(f"DROP TRIGGER {_TRIGGER}{_ON_TABLE}")
    run(_HARMLESS)


OWNER = {
    "record edited": Tampering(
        By.OWNER, lambda: _edit(behind_checkpoint=False), 1, broken("edited")
    ),
    "record edited, and its hash": Tampering(
        By.OWNER, lambda: _edit(behind_checkpoint=False, fits=True), 1, broken("edited")
    ),
    "record edited, and all hashes behind it": Tampering(
        By.OWNER, lambda: _edit(behind_checkpoint=False, rewrites=True), 1, broken("rewritten")
    ),
    "young record edited": Tampering(
        By.OWNER, lambda: _edit(behind_checkpoint=True), 1, broken("edited")
    ),
    "young record edited, and all hashes behind it": Tampering(
        By.OWNER, lambda: _edit(behind_checkpoint=True, rewrites=True), 1, broken("unsigned")
    ),
    "record removed": Tampering(By.OWNER, _remove, 1, broken("removed")),
    "end cut off, and its checkpoints": Tampering(
        By.OWNER, _undo_what_is_signed, 1, broken("truncated")
    ),
    "records exchanged": Tampering(By.OWNER, _exchange, 1, broken("reordered")),
    "signature removed": Tampering(By.OWNER, _unsign, 1, broken("unsigned")),
    "chain removed, and its checkpoints": Tampering(
        By.OWNER, _remove_tenant, 1, broken("truncated", "tenant2")
    ),
    "trigger dropped": Tampering(
        By.OWNER,
        lambda: run(f"DROP TRIGGER {_TRIGGER}{_ON_TABLE}"),
        1,
        {("trigger", _TRIGGER)},
    ),
    "trigger replaced": Tampering(By.OWNER, _replace_trigger, 1, {("trigger", _TRIGGER)}),
}

# --- checkpoints, in the database and outside -----------------------------------------------


def _change_checkpoint() -> None:
    row = AuditCheckpoint.objects.filter(tenant_id=TENANT).latest("sequence")
    text = row.statement.replace(row.hash, "ab" * 32)
    AuditCheckpoint.objects.filter(pk=row.pk).update(statement=text, hash="ab" * 32)


def _change_file(change: Callable[[str], str]) -> None:
    path = checkpoint_files.file_of(TENANT)
    path.write_text(change(path.read_text()))


def _replace_folder() -> None:
    folder = checkpoint_files.folder()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("")


def _add_checkpoint_of_an_unknown_key() -> None:
    """Have the chore believe that everything is signed."""
    head = head_of()
    AuditCheckpoint.objects.create(
        tenant_id=TENANT,
        sequence=head.last_sequence,
        hash=head.last_hash,
        at=timezone.now(),
        key_id="ab" * 8,
        statement="{}",
        signature="",
    )


UNVOUCHED: Names = {("unvouched", TENANT)}
CHECKPOINTS = {
    "checkpoint changed": Tampering(By.APPLICATION, _change_checkpoint, 1, broken("forged")),
    "checkpoints removed": Tampering(
        By.APPLICATION,
        lambda: AuditCheckpoint.objects.filter(tenant_id=TENANT).delete(),
        3,
        UNVOUCHED,
    ),
    "file removed": Tampering(
        By.FILES, lambda: checkpoint_files.file_of(TENANT).unlink(), 3, UNVOUCHED
    ),
    "file emptied": Tampering(By.FILES, lambda: _change_file(lambda text: ""), 3, UNVOUCHED),
    "file cut short": Tampering(
        By.FILES, lambda: _change_file(lambda text: text.splitlines(True)[0]), 3, UNVOUCHED
    ),
    "line of a file changed": Tampering(
        By.FILES,
        lambda: _change_file(lambda text: text.replace(TENANT, "tenant1x")),
        3,
        UNVOUCHED,
    ),
    "folder replaced": Tampering(
        By.FILES, _replace_folder, 3, {("unvouched", tenant) for tenant in ("", TENANT, "tenant2")}
    ),
}

# --- what cannot be proved, or not alone ----------------------------------------------------


def _undo_a_decision() -> None:
    """Take a young decision back in the table and in the audit."""
    OutboxEntry.objects.filter(request__request_id="young").delete()
    _cut_off(after=_signed())
    run(set_request("young", status="'pending'", decided_at="NULL", decided_by="''",
                    decided_channel="''"))  # fmt: skip


def _sign_with_the_key() -> None:
    """Write a record as the deployment does; with its key nobody can tell."""
    entry = fitting_stray()
    with no_triggers():
        AuditRecord.objects.filter(pk=entry.pk).update(signature=record_signatures.sign(entry.hash))
    set_head(entry.sequence, entry.hash)


BEYOND_PROOF = {
    "young records of which no row says anything cut off (owner)": lambda: _cut_off(
        after=_signed() + 1
    ),
    "young decision undone with its records (owner)": _undo_a_decision,
    "record signed with the stolen key (key)": _sign_with_the_key,
}

TAMPERINGS = {
    **{name: Tampering(By.APPLICATION, lambda s=statement: run(s), 1, names)  # type: ignore[misc]
       for name, (statement, names) in ROWS.items()},
    **RECORDS,
    **OWNER,
    **CHECKPOINTS,
}  # fmt: skip
