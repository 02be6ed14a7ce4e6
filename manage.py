#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
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


if __name__ == "__main__":
    main()
