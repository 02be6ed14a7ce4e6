"""The files outside the database that checkpoints are appended to."""

from __future__ import annotations

import json
import os
import shutil
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from hitl import metrics
from hitl.audit import checkpoint_files, checkpoints, verify
from hitl.models import AuditChain, AuditRecord
from tests import factories
from tests.integration.audit.signed_chains import cut, lines
from tests.integration.calls import browser
from tests.integration.chains import chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_files_are_the_owners_and_their_names_safe(folder: Path) -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    path = checkpoint_files.file_of("tenant1")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for tenant in ("../../etc/passwd", "a/b", "", "테넌트", "A" * 255, ".hidden", "tenant 1"):
        assert checkpoint_files.file_of(tenant).resolve().parent == folder.resolve()
    assert checkpoint_files.file_of("a/b") != checkpoint_files.file_of("a_b")


def test_folder_that_cannot_be_written_loses_nothing(folder: Path) -> None:
    folder.parent.joinpath("checkpoints").write_text("a file where the folder should be")
    chain_of(1)
    assert checkpoints.sign_head("tenant1") is not None
    assert not checkpoints.is_newest_in_file("tenant1")
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1
    with pytest.raises(CommandError, match="not written outside"):
        call_command("checkpoint_audit", stdout=StringIO())

    folder.unlink()
    assert checkpoints.sign_moved_heads() == 0

    assert [json.loads(line["statement"])["sequence"] for line in lines()] == [1, 2]
    assert checkpoints.is_newest_in_file("tenant1")
    # What nobody signed is not believed to be there.
    path = checkpoint_files.file_of("tenant1")
    path.write_text(path.read_text().replace('"signature":"', '"signature":"AAAA'))
    assert not checkpoints.is_newest_in_file("tenant1")


def test_file_cut_short_by_a_crash_goes_on_in_a_new_line() -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    path = checkpoint_files.file_of("tenant1")
    os.truncate(path, path.stat().st_size - 20)
    AuditChain.objects.update(outside_sequence=0)  # which is noted once the line is on the disk
    chain_of(1)
    checkpoints.sign_head("tenant1")

    raw = path.read_text().splitlines()
    assert len(raw) == 3  # the torn one, the same again, the next
    holds = verify.verify("tenant1")
    assert isinstance(holds, verify.IntactChain)
    assert holds.vouched == 2
    assert len(holds.notes) == 1  # one checkpoint cannot be read


def vanish(how: str) -> None:
    path = checkpoint_files.file_of("tenant1")
    if how == "folder":
        shutil.rmtree(path.parent)
    elif how == "file":
        path.unlink()
    elif how == "emptied":
        path.write_text("")
    elif how == "cut":
        path.write_text(path.read_text().splitlines(keepends=True)[0])
    else:  # a line that nobody trusted has signed takes its place
        path.write_text(path.read_text().replace('"signature":"', '"signature":"AAAA'))


VANISHED = ["folder", "file", "emptied", "cut", "replaced"]


@pytest.mark.parametrize("how", VANISHED)
def test_file_that_lost_what_was_written_is_not_written_again_from_the_database(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    chain_of(1)
    checkpoints.sign_head("tenant1")
    vanish(how)
    path = checkpoint_files.file_of("tenant1")
    left = path.read_text() if path.exists() else None
    failures = metrics.checkpoint_failures._value.get()

    assert checkpoints.sign_moved_heads() == 0
    chain_of(1)
    assert checkpoints.sign_moved_heads() == 1  # in the database it is signed all the same
    assert checkpoints.sign_moved_heads() == 0

    assert (path.read_text() if path.exists() else None) == left
    assert caplog.text.count("checkpoint_file_lost") == 3
    assert metrics.checkpoint_failures._value.get() == failures + 3
    with pytest.raises(CommandError, match="--rewrite-files"):
        call_command("checkpoint_audit", stdout=StringIO())
    page = browser(factories.user("desk", role="viewer", is_staff=True))
    assert "--rewrite-files" in page.get("/admin/hitl/auditrecord/").content.decode()


@pytest.mark.parametrize("how", VANISHED)
def test_loss_is_accepted_by_a_command_that_is_itself_audited_and_signed(how: str) -> None:
    chain_of(2)
    checkpoints.sign_head("tenant1")
    chain_of(2)
    checkpoints.sign_head("tenant1")
    vanish(how)

    call_command("checkpoint_audit", "--rewrite-files", stdout=StringIO())
    call_command("checkpoint_audit", "--rewrite-files", stdout=StringIO())

    entry = AuditRecord.objects.get(event="checkpoints:rewritten")
    assert (entry.tenant_id, entry.sequence, entry.details) == ("tenant1", 5, '{"written":4}')
    trusted = [json.loads(line["statement"])["sequence"] for line in lines()]
    assert trusted[-2:] == [4, 5]
    assert not checkpoints.is_file_lost("tenant1")
    assert "--rewrite-files" not in (
        browser(factories.user("desk", role="viewer", is_staff=True))
        .get("/admin/hitl/auditrecord/")
        .content.decode()
    )


def test_chain_that_differs_gets_no_files_by_accepting_their_loss(folder: Path) -> None:
    chain_of(4)
    checkpoints.sign_head("tenant1")
    shutil.rmtree(folder)
    cut(2)

    with pytest.raises(CommandError, match="Verify the chain"):
        call_command("checkpoint_audit", "--rewrite-files", stdout=StringIO())

    assert not folder.exists()
    assert AuditRecord.objects.count() == 2


def test_files_of_a_version_that_noted_nothing_are_taken_as_they_are() -> None:
    chain_of(1)
    checkpoints.sign_head("tenant1")
    AuditChain.objects.update(outside_sequence=0)
    chain_of(1)

    checkpoints.sign_head("tenant1")

    assert AuditChain.objects.get().outside_sequence == 2
    assert len(lines()) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for somebody else")
@pytest.mark.parametrize("is_folder_there", [True, False])
def test_checkpoint_made_by_root_can_be_appended_to_by_the_service(
    folder: Path, is_folder_there: bool
) -> None:
    service = 12345
    above = folder.parent if not is_folder_there else folder
    above.mkdir(mode=0o700, exist_ok=True)
    os.chown(above, service, service)
    chain_of(1)
    call_command("checkpoint_audit", stdout=StringIO())

    path = checkpoint_files.file_of("tenant1")
    for each in (folder, path):
        assert (each.stat().st_uid, each.stat().st_gid) == (service, service)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for somebody else")
def test_root_gives_nothing_away_that_it_did_not_create(folder: Path) -> None:
    chain_of(1)
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    secret = folder.parent / "secret"
    secret.touch()
    os.link(secret, checkpoint_files.file_of("tenant1"))

    checkpoints.sign_head("tenant1")

    assert secret.stat().st_uid == 0
