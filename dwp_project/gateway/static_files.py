"""The pages' static files: hashed and compressed if they were collected, as they are if not."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from structlog.stdlib import get_logger
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

logger = get_logger(__name__)


class CollectedFiles(CompressedManifestStaticFilesStorage):
    """Writes and names the files of `make static`.

    Files keep their names in development, so that a change is seen, and where what was collected is
    not what is installed: after an update, for example.
    """

    # Modules import each other by their hashed names too.
    support_js_module_import_aggregation = True

    def load_manifest(self) -> tuple[dict[str, str], str]:
        if settings.IS_DEVELOPMENT:
            return {}, ""
        if not _is_collected():
            logger.warning("static_files_not_collected", collect_with="make static")
            return {}, ""
        names: tuple[dict[str, str], str] = super().load_manifest()
        return names

    def stored_name(self, name: str) -> str:
        stored: str = self.hashed_files.get(self.hash_key(self.clean_name(name)), name)
        return stored


def _is_collected() -> bool:
    """Say whether every installed file was collected as it is."""
    root = Path(settings.STATIC_ROOT)
    try:
        return (root / CollectedFiles.manifest_name).is_file() and all(
            filecmp.cmp(storage.path(path), root / path, shallow=False)
            for finder in finders.get_finders()
            for path, storage in finder.list(None)
        )
    except FileNotFoundError:
        return False


class StaticFiles(WhiteNoiseMiddleware):
    """Serves static files, hashed ones for years."""

    def add_files(self, root: str | Path, prefix: str | None = None) -> Any:
        # A checkout in which nothing was collected has no such folder.
        if Path(root).is_dir():
            super().add_files(root, prefix=prefix)
