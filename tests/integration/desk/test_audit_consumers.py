"""Verification and export as the audit pages fetch them: for members, with the form's token."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl.audit import signing, triggers, verify_export
from hitl.models import AuditRecord
from tests.integration.admin.test_audit_records import LIST, signed_in
from tests.integration.audit.strays import stray_behind_head
from tests.integration.calls import Answer
from tests.integration.chains import chain_of, record
from tests.integration.exchange import Exchange, call
from tests.people import OUTSIDER


@pytest.fixture(autouse=True)
def _own_key_and_folder(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()


class Desk:
    """A signed-in browser, as it talks to the ASGI application."""

    def __init__(self, role: str | None = "viewer", *, is_superuser: bool = False) -> None:
        client = signed_in(role, is_superuser=is_superuser)
        client.get(LIST)
        page = client.get(LIST).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        self.token = token[1] if token else "x" * 64
        self.cookies = "; ".join(f"{each.key}={each.value}" for each in client.cookies.values())
        self.cookies += f"; sessionid={client.session.session_key}"

    def sent(self, fields: Mapping[str, str], token: str | None = None) -> dict[str, Any]:
        posted = {"csrfmiddlewaretoken": self.token if token is None else token, **fields}
        return {
            "body": urlencode(posted).encode(),
            "headers": {
                "Cookie": self.cookies,
                "Content-Type": "application/x-www-form-urlencoded",
                "Content-Length": str(len(urlencode(posted))),
            },
        }

    async def post(self, name: str, token: str | None = None, **fields: str) -> Answer:
        return await call("POST", f"/admin/book/{name}", **self.sent(fields, token))


def lines(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.content.splitlines()]


@pytest.mark.django_db(transaction=True)
async def test_verification_tells_its_result_and_is_audited() -> None:
    def begin() -> Desk:
        chain_of(3)
        return Desk()

    desk = await run_sync(begin)
    answer = await desk.post("verify", tenant="tenant1")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    result = lines(answer)[-1]["result"]
    assert (result["holds"], result["records"]) == (True, 3)
    again = lines(await desk.post("verify", tenant="tenant1"))[-1]["result"]
    assert again["records"] == 4  # the first verification is a record of its own

    def audited() -> list[tuple[str, str, str]]:
        return list(
            AuditRecord.objects.filter(event="audit:verified")
            .order_by("id")
            .values_list("actor", "details", "channel")
        )

    assert (await run_sync(audited))[0] == (
        "desk",
        # Of the operator's own membership, which the test makes behind the audit's back.
        '{"differing":1,"holds":true,"records":3,"role":"viewer"}',
        "admin",
    )


@pytest.mark.django_db(transaction=True)
async def test_verification_tells_what_is_broken() -> None:
    def begin() -> Desk:
        chain_of(3)
        triggers.remove(connection)
        AuditRecord.objects.filter(sequence=2).delete()
        triggers.install(connection)
        return Desk()

    desk = await run_sync(begin)
    result = lines(await desk.post("verify", tenant="tenant1"))[-1]["result"]

    assert (result["holds"], result["kind"], result["sequence"]) == (False, "removed", 2)
    assert result["why"] == "Record 2 is missing."


@pytest.mark.django_db(transaction=True)
async def test_only_members_with_the_forms_token_verify_and_export() -> None:
    def begin() -> Desk:
        chain_of(1)
        record(OUTSIDER)
        return Desk("admin")

    desk = await run_sync(begin)
    for name in ("verify", "export"):
        for tenant in ("tenant2", "", "made-up"):
            answer = await desk.post(name, tenant=tenant, format="csv")
            assert answer.status == 404, (name, tenant)
        assert (await desk.post(name, "wrong", tenant="tenant1", format="csv")).status == 403
        nobody = await call("POST", f"/admin/book/{name}", body=b"tenant=tenant1&format=csv")
        assert nobody.status in (403, 404)
        assert b"tenant2" not in nobody.content

    def untouched() -> int:
        return AuditRecord.objects.count()

    assert await run_sync(untouched) == 2


@pytest.mark.django_db(transaction=True)
async def test_export_is_a_signed_file(tmp_path: Path) -> None:
    def begin() -> Desk:
        chain_of(5)
        record(OUTSIDER, session_id="theirs")
        return Desk()

    desk = await run_sync(begin)
    answer = await desk.post("export", tenant="tenant1", format="csv")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"] == (
        'attachment; filename="audit-tenant1-1-5.csv.zip"'
    )
    path = tmp_path / "out.zip"
    path.write_bytes(answer.content)
    found = verify_export.verify(path, signing.trusted_keys())
    assert (found.manifest["records"], found.manifest["createdBy"]) == (5, "desk")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert b"theirs" not in archive.read("records.csv")
    refused = await desk.post("export", tenant="tenant1", format="exe")
    assert refused.status == 400


@pytest.mark.django_db(transaction=True)
async def test_export_waits_for_its_client_and_leaves_with_it() -> None:
    def begin() -> Desk:
        chain_of(3)
        return Desk()

    desk = await run_sync(begin)
    async with Exchange(
        "POST", "/admin/book/export", **desk.sent({"tenant": "tenant1", "format": "jsonl"})
    ) as exchange:
        status, _headers = await exchange.start()
        assert status == 200
        await exchange.piece()


@pytest.mark.django_db(transaction=True)
async def test_export_of_a_chain_that_does_not_hold_is_refused_before_its_first_byte() -> None:
    def begin() -> Desk:
        chain_of(3)
        stray_behind_head()
        return Desk()

    desk = await run_sync(begin)
    answer = await desk.post("export", tenant="tenant1", format="csv")

    assert answer.refusal == (500, "E1000")
    assert "does not hold at record 4" in answer.body["message"]


@pytest.mark.django_db(transaction=True)
async def test_export_that_meets_a_break_midway_is_cut_and_is_no_whole_file() -> None:
    def begin() -> Desk:
        chain_of(3)
        triggers.remove(connection)
        AuditRecord.objects.filter(sequence=2).update(actor="x")
        triggers.install(connection)
        return Desk()

    desk = await run_sync(begin)
    async with Exchange(
        "POST", "/admin/book/export", **desk.sent({"tenant": "tenant1", "format": "jsonl"})
    ) as exchange:
        status, _headers = await exchange.start()
        received = await exchange.rest()

    assert (status, exchange.was_cut) == (200, True)
    assert not zipfile.is_zipfile(io.BytesIO(received))
