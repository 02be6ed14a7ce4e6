#!/usr/bin/env python
"""Django's command line for this project."""

import atexit
import codecs
import gc
import json
import os
import sys


def main() -> None:
    _search_less_for_garbage()
    _print_in_any_charset()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dwp_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    # A night job takes the 1 of this command for a broken chain (commands.md).
    is_verifying = sys.argv[1:2] == ["verify_audit"]
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        # A wrong setting is the operator's to mend: the sentence helps, a traceback does not.
        print(f"Configuration error: {exc}", file=sys.stderr)
        sys.exit(2 if is_verifying else 1)
    except Exception as exc:
        if not is_verifying:
            raise
        print(f"It could not be verified: {exc}", file=sys.stderr)
        sys.exit(2)


def _search_less_for_garbage() -> None:
    """Keep what imports leave, which lives until the end, out of most collections of garbage.

    They take a third of the processor time of a short command.
    """
    gc.set_threshold(50_000, 10, 10)
    # The interpreter collects garbage several times while it ends.
    atexit.register(gc.freeze)


def _print_in_any_charset() -> None:
    """Have characters that the terminal's charset lacks printed as \\uXXXX.

    By default printing one is an error; the escape is one that readers of JSON know as well.
    """

    def escape(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        return json.dumps(error.object[error.start : error.end])[1:-1], error.end

    codecs.register_error("json-escape", escape)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="json-escape")


if __name__ == "__main__":
    main()
