"""The hook that compares migrations with models runs when models change."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.apps import apps
from django.db import models

ROOT = Path(__file__).resolve().parents[2]
OURS = ("dwp_project", "hitl", "streaming")
# Stands above the models, which so take no choices from it.
PAGES = "hitl.desk"


def fires_for(path: str) -> bool:
    """Say whether a commit that changes `path` runs the hook, as pre-commit decides it."""
    configured: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"]: hook for repo in configured["repos"] for hook in repo["hooks"]}
    return re.search(hooks["migrations"]["files"], path) is not None


def source_of(kind: type) -> str:
    return Path(inspect.getfile(kind)).relative_to(ROOT).as_posix()


def test_hook_fires_for_every_module_that_defines_a_model() -> None:
    ours = {model for model in apps.get_models() if model.__module__.startswith(OURS)}
    assert {path for path in map(source_of, ours) if not fires_for(path)} == set()
    assert fires_for("hitl/models/__init__.py")
    assert len(ours) > 10


def test_hook_fires_for_every_module_that_defines_choices() -> None:
    ours = [
        one
        for one in models.TextChoices.__subclasses__()
        if one.__module__.startswith(OURS) and not one.__module__.startswith(PAGES)
    ]
    assert {path for path in map(source_of, ours) if not fires_for(path)} == set()
    assert {"Status", "AuditEvent", "Role", "SessionStatus"} <= {one.__name__ for one in ours}


def test_hook_fires_for_every_migration() -> None:
    files = [path for folder in OURS for path in (ROOT / folder).rglob("migrations/*.py")]
    paths = {path.relative_to(ROOT).as_posix() for path in files}
    assert {path for path in paths if not fires_for(path)} == set()
    assert len(paths) > 5


@pytest.mark.parametrize(
    "path", ["hitl/services.py", "hitl/models.md", "tests/unit/test_states.py", "docs/models.py"]
)
def test_hook_does_not_fire_for_what_no_migration_comes_from(path: str) -> None:
    assert not fires_for(path)
