"""A key and a folder for checkpoints of each test's own."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """An empty AUDIT_CHECKPOINT_DIR, and a key of the test's own."""
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()
    return tmp_path / "checkpoints"
