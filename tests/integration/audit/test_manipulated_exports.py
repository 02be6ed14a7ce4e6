"""An export that contradicts itself is refused, with the name of what is wrong, whoever signed it.

Each manifest here is signed again by the deployment's own key: what is refused is what it says.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from dwp_project.jsontext import canonical
from hitl.audit import checkpoints, signing, verify_export
from hitl.audit.checkpoint_statement import CheckpointStatement
from hitl.audit.export_format import Format, Unreadable
from hitl.audit.hashing import hash_of_facts
from tests.integration.audit.exports import exported, keys
from tests.integration.chains import chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]

Manifest = dict[str, Any]
Members = list[tuple[str, bytes]]


def read(path: Path) -> tuple[Manifest, bytes]:
    """Return the manifest and the records of an export."""
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        return manifest, archive.read(manifest["content"])


def write(path: Path, manifest: Manifest, records: bytes, extra: Members = []) -> None:  # noqa: B006
    """Write an export whose manifest the deployment's key signed, with more members at its end."""
    raw = canonical(manifest | {"sha256": sha256(records).hexdigest()}).encode()
    signature = signing.signing_key().sign(raw).encode()
    members = [
        (manifest["content"], records),
        ("manifest.json", raw),
        ("manifest.sig", signature),
        *extra,
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


def checkpoint(
    sequence: int, digest: str = "ab" * 32, *, tenant: str = "tenant1", at: str | None = None
) -> list[dict[str, str]]:
    """Return a list of one checkpoint, signed by the deployment's key."""
    key = signing.signing_key()
    at = at or (timezone.now() - timedelta(hours=1)).isoformat(timespec="microseconds")
    text = CheckpointStatement(tenant, sequence, digest, at, key.key_id).text
    return [{"statement": text, "signature": key.sign(text.encode())}]


def without_last(records: bytes) -> bytes:
    return b"".join(records.splitlines(True)[:-1])


def without_first(records: bytes) -> bytes:
    return b"".join(records.splitlines(True)[1:])


def first_link(records: bytes, line: int) -> str:
    link: str = json.loads(records.splitlines()[line])["previousHash"]
    return link


def of_another_tenant(records: bytes) -> bytes:
    """Return the first record as if another tenant's chain began with it."""
    record = json.loads(records.splitlines()[0]) | {"tenant": "tenant2"}
    del record["hash"]
    return canonical(record | {"hash": hash_of_facts(record)}).encode() + b"\n"


# What was done to the five records, the manifest, and what is to be said of it.
NUMBERS: dict[str, tuple[Callable[[Manifest, bytes], tuple[Manifest, bytes]], str]] = {
    "records-too-many": (
        lambda m, r: (m | {"records": 25}, r),
        "it holds 5 records; the manifest's records says 25",
    ),
    "records-too-few": (
        lambda m, r: (m | {"records": 4}, r),
        "it holds 5 records; the manifest's records says 4",
    ),
    "records-negative": (lambda m, r: (m | {"records": -1}, r), "the manifest's records is -1"),
    "last-sequence-too-high": (
        lambda m, r: (m | {"lastSequence": 25, "head": m["head"] | {"sequence": 25}}, r),
        "it ends with record 5; the manifest's lastSequence is 25",
    ),
    "last-sequence-too-low": (
        lambda m, r: (m | {"lastSequence": 4}, r),
        "it ends with record 5; the manifest's lastSequence is 4",
    ),
    "first-sequence-too-high": (
        lambda m, r: (m | {"firstSequence": 2}, r),
        "the records begin with number 1, and the manifest's firstSequence is 2",
    ),
    "first-sequence-too-low": (
        lambda m, r: (m | {"firstSequence": 0}, r),
        "the records begin with number 1, and the manifest's firstSequence is 0",
    ),
    "first-behind-last": (
        lambda m, r: (m | {"firstSequence": 6}, r),
        "firstSequence 6 is behind lastSequence 5",
    ),
    "head-before-last": (
        lambda m, r: (m | {"head": m["head"] | {"sequence": 4}}, r),
        "lastSequence 5 is beyond the head, record 4",
    ),
    "head-beyond-last": (
        lambda m, r: (m | {"head": m["head"] | {"sequence": 6}}, r),
        "it is to go to the end",
    ),
    "head-of-another-record": (
        lambda m, r: (m | {"head": m["head"] | {"hash": "cd" * 32}}, r),
        "the last record is not the head",
    ),
    "head-without-a-number": (lambda m, r: (m | {"head": {}}, r), "the head .* cannot be read"),
    "last-hash-of-another-record": (
        lambda m, r: (m | {"lastHash": "cd" * 32}, r),
        "the manifest's lastHash",
    ),
    "end-cut-off": (
        lambda m, r: (m, without_last(r)),
        "it holds 4 records and ends with number 4; the manifest says 5 records, up to number 5",
    ),
    "end-cut-off-and-count-made-to-fit": (
        lambda m, r: (m | {"records": 4}, without_last(r)),
        "it ends with record 4; the manifest's lastSequence is 5",
    ),
    "end-cut-off-and-numbers-made-to-fit": (
        lambda m, r: (m | {"records": 4, "lastSequence": 4}, without_last(r)),
        "it is to go to the end",
    ),
    "beginning-cut-off": (
        lambda m, r: (
            m | {"firstSequence": 2, "records": 4, "previousHash": first_link(r, line=1)},
            without_first(r),
        ),
        "it is to be from the beginning",
    ),
    "all-records-taken-out": (
        lambda m, r: (
            m | {"firstSequence": 0, "lastSequence": 0, "records": 0, "lastHash": ""},
            b"",
        ),
        "it is to be the whole chain and holds no record; the head is record 5",
    ),
    "times-in-the-wrong-order": (
        lambda m, r: (m | {"from": "2026-02-01T00:00:00+00:00", "to": "2026-01-01T00:00:00Z"}, r),
        "from a time that is after its end",
    ),
    "time-that-is-none": (lambda m, r: (m | {"from": "yesterday"}, r), "from is no time"),
    "record-of-another-tenant": (
        lambda m, r: (m, of_another_tenant(r) + without_first(r)),
        "record 1 belongs to another tenant",
    ),
    "manifest-of-another-tenant": (
        lambda m, r: (m | {"tenant": "tenant2"}, r),
        "record 1 belongs to another tenant",
    ),
    "checkpoint-beyond-the-head": (
        lambda m, r: (m | {"checkpoints": checkpoint(9)}, r),
        "vouches for record 9, beyond the head .* record 5: the chain was longer when that was "
        "signed, and its end was cut off before the export",
    ),
    "checkpoint-beyond-the-head-signed-later": (
        lambda m, r: (m | {"checkpoints": checkpoint(9, at="2999-01-01T00:00:00+00:00")}, r),
        "beyond the head .* signed after the export was begun",
    ),
    "checkpoint-of-another-head": (
        lambda m, r: (m | {"checkpoints": checkpoint(5)}, r),
        "checkpoint 1 vouches for another record 5 than the head",
    ),
    "checkpoint-of-another-record": (
        lambda m, r: (m | {"checkpoints": checkpoint(3)}, r),
        "record 3 is not the one a checkpoint vouches for",
    ),
    "checkpoints-that-contradict-each-other": (
        lambda m, r: (m | {"checkpoints": checkpoint(3) + checkpoint(3, "cd" * 32)}, r),
        "two checkpoints of record 3 contradict each other",
    ),
    "checkpoint-of-another-tenant": (
        lambda m, r: (m | {"checkpoints": checkpoint(3, tenant="tenant2")}, r),
        "checkpoint 1 is of another tenant's chain",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_export_that_contradicts_itself_is_refused_by_the_name_of_what_is_wrong(
    tmp_path: Path, name: str
) -> None:
    change, why = NUMBERS[name]
    chain_of(5)
    path = tmp_path / "out.zip"
    exported(path)
    manifest, records = read(path)
    write(path, *change(manifest, records))

    with pytest.raises(Unreadable, match=why):
        verify_export.verify(path, keys())
    with pytest.raises(CommandError, match=f"does not hold: .*{why}") as ended:
        call_command("verify_export", str(path), stdout=StringIO())
    assert ended.value.returncode == 1


def test_export_that_is_signed_again_unchanged_holds(tmp_path: Path) -> None:
    chain_of(5)
    checkpoints.sign_head("tenant1")
    path = tmp_path / "out.zip"
    exported(path)
    write(path, *read(path))

    assert verify_export.verify(path, keys()).vouched == 5


def test_checkpoint_of_an_unknown_key_beyond_the_head_is_refused(tmp_path: Path) -> None:
    chain_of(5)
    path = tmp_path / "out.zip"
    exported(path)
    manifest, records = read(path)
    [beyond] = checkpoint(9)
    key_id = signing.signing_key().key_id
    beyond["statement"] = beyond["statement"].replace(key_id, "f" * len(key_id))
    write(path, manifest | {"checkpoints": [beyond]}, records)

    with pytest.raises(Unreadable, match="beyond the head"):
        verify_export.verify(path, keys())


def test_export_of_a_chain_that_grows_meanwhile_carries_no_later_checkpoint(
    tmp_path: Path,
) -> None:
    chain_of(3)
    path = tmp_path / "out.zip"

    def grow() -> None:
        chain_of(2)
        checkpoints.sign_head("tenant1")

    exported(path, meanwhile=grow)

    assert read(path)[0]["checkpoints"] == []
    assert verify_export.verify(path, keys()).manifest["records"] == 3


# --- the ZIP file -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "records.jsonl"])
def test_member_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"
    exported(path)
    with zipfile.ZipFile(path) as archive:
        raw = archive.read(name)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, raw)

    with pytest.raises(Unreadable, match=f"holds {name} twice"):
        verify_export.verify(path, keys())


def test_member_that_no_export_has_is_refused(tmp_path: Path) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"
    exported(path)
    write(path, *read(path), extra=[("records.csv", b"")])

    with pytest.raises(Unreadable, match="other members"):
        verify_export.verify(path, keys())


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_member_that_unpacks_to_far_more_than_it_may_be_is_refused(
    tmp_path: Path, name: str
) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"
    exported(path)
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, raw in (members | {name: b" " * 50_000_000}).items():
            archive.writestr(each, raw)

    with pytest.raises(Unreadable, match=f"its {name} is too large"):
        verify_export.verify(path, keys())


@pytest.mark.parametrize(
    ("form", "endless", "why"),
    [
        (Format.JSONL, b" " * 50_000_000, "a line of the records is too long"),
        (Format.CSV, b"x" * 50_000_000, "a line of the records is too long"),
        # One row for a CSV reader: each cell begins on the line on which the last one ended.
        (Format.CSV, b'"' + b'\n","' * 10_000_000, "a row of the records is too long"),
    ],
)
def test_records_that_unpack_to_one_endless_line_are_refused(
    tmp_path: Path, form: Format, endless: bytes, why: str
) -> None:
    chain_of(2)
    path = tmp_path / "out.zip"
    exported(path, form)
    manifest, records = read(path)
    write(path, manifest, records + endless)

    with pytest.raises(Unreadable, match=why):
        verify_export.verify(path, keys())
