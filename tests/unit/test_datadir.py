"""The folder of everything that the environment does not supply."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from dwp_project.datadir import data_dir, redis_socket, secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _make_secret(directory: Path, start: object, results: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    results.put(secret(directory, "jwt_secret"))  # type: ignore[attr-defined]


def test_secret_is_long_owner_only_and_stays(tmp_path: Path) -> None:
    first = secret(tmp_path, "jwt_secret")

    assert len(first.encode()) >= 32
    assert mode(tmp_path / "jwt_secret") == 0o600
    assert secret(tmp_path, "jwt_secret") == first
    assert os.listdir(tmp_path) == ["jwt_secret"]


def test_secrets_of_other_names_and_folders_differ(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    assert (
        len(
            {
                secret(tmp_path, "a"),
                secret(tmp_path, "b"),
                secret(tmp_path / "other", "a"),
            }
        )
        == 3
    )


def test_secret_that_somebody_wrote_is_taken(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("written by hand\n", encoding="ascii")

    assert secret(tmp_path, "jwt_secret") == "written by hand"


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    start, results = spawn.Event(), spawn.Queue()
    racers = [spawn.Process(target=_make_secret, args=(tmp_path, start, results)) for _ in range(8)]
    for racer in racers:
        racer.start()

    start.set()
    made = {results.get(timeout=30) for _ in racers}
    for racer in racers:
        racer.join(30)

    assert made == {secret(tmp_path, "jwt_secret")}
    assert os.listdir(tmp_path) == ["jwt_secret"]


def test_leftover_of_a_killed_start_stands_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".jwt_secret.{os.getpid()}").write_text("half", encoding="ascii")

    assert secret(tmp_path, "jwt_secret") != "half"
    assert os.listdir(tmp_path) == ["jwt_secret"]


def test_data_dir_is_made_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "new"))

    assert data_dir(Path("/unused")) == tmp_path / "new"
    assert mode(tmp_path / "new") == 0o700


@pytest.mark.parametrize("unset", [None, ""])
def test_data_dir_is_beside_the_code_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    monkeypatch.delenv("DATA_DIR")
    if unset is not None:
        monkeypatch.setenv("DATA_DIR", unset)

    assert data_dir(tmp_path) == tmp_path / ".data"


def test_data_dir_that_cannot_be_made_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "below"))

    with pytest.raises(ImproperlyConfigured, match="Set DATA_DIR"):
        data_dir(tmp_path)


def test_redis_socket_is_in_the_folder(tmp_path: Path) -> None:
    assert redis_socket(Path("/tmp/short")) == Path("/tmp/short/redis.sock")


@pytest.mark.parametrize("name", ["x" * 120, "가" * 40])
def test_redis_socket_of_a_long_folder_is_elsewhere_and_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    folder = tmp_path / name

    path = redis_socket(folder)

    assert len(os.fsencode(path)) <= 100
    assert mode(path.parent) == 0o700
    assert redis_socket(folder) == path
    assert redis_socket(tmp_path / f"{name}y") != path
    for made in (path, redis_socket(tmp_path / f"{name}y")):
        made.parent.rmdir()
