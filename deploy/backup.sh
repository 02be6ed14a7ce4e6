#!/bin/sh
# Copies this deployment into a new folder, while it runs: the database as of one moment, and the
# files that verify its audit.
#
#   deploy/backup.sh /backups/2026-11-30 [FILE...]
#
# Run it with the environment of the processes. Files that are named are kept too, such as the one
# with that environment. PYTHON is the Python of the processes, by default .venv/bin/python. For
# PostgreSQL, pg_dump must be on the PATH, and not older than the server. The copy has secrets: it
# is readable for its owner alone.
set -eu
umask 077

stop() { echo "$*" >&2; exit 1; }
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

[ $# -ge 1 ] || stop "usage: $0 FOLDER [FILE...]"
folder=$(absolute "$1")
shift
for file in "$@"; do
    [ -e "$file" ] || stop "$file is not there."
done
[ ! -e "$folder" ] || stop "$folder is there already. Name a new folder."
mkdir "$folder.part" || stop "$folder.part could not be made. Remove what an earlier try has left."
more=$(for file in "$@"; do absolute "$file"; done)
cd "$(dirname "$0")/.."
export DJANGO_SETTINGS_MODULE=dwp_project.settings more

# The files before the database: what the database says of them is then newer, never older.
"${PYTHON:-.venv/bin/python}" - >"$folder.part/names" <<'END'
import os
from pathlib import Path

from django.conf import settings

left_out = ("redis", ".", Path(settings.DATABASES["default"]["NAME"]).name)
paths = [p for p in settings.DATA_DIR.iterdir() if not p.name.startswith(left_out) and not p.is_socket()]
named = [settings.AUDIT_SIGNING_KEY_FILE, settings.AUDIT_CHECKPOINT_DIR, *settings.AUDIT_TRUSTED_KEYS]
paths += [Path(p).resolve() for p in (*named, *os.environ["more"].splitlines()) if p and Path(p).exists()]
print("\0".join(sorted({str(p).lstrip("/") for p in paths})), end="")
END
# 1: a file was written to meanwhile, as checkpoints are.
tar -C / --null --files-from="$folder.part/names" -cf "$folder.part/files.tar" || [ $? -eq 1 ]
rm "$folder.part/names"

"${PYTHON:-.venv/bin/python}" - "$folder.part" <<'END'
import os
import sqlite3
import sys

from django.db import connection

folder = sys.argv[1]
if connection.vendor == "sqlite":
    source = sqlite3.connect(f"file:{connection.settings_dict['NAME']}?mode=rw", uri=True, timeout=60)
    copy = sqlite3.connect(f"{folder}/database.sqlite3")
    source.backup(copy)
    if copy.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
        sys.exit("The copy could not be closed.")
    if (said := copy.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
        sys.exit(f"The copy is damaged: {said}")
    copy.close()
else:
    arguments, more = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    *options, name = arguments[1:]
    dump = ["pg_dump", "--format=custom", f"--file={folder}/database.dump", *options, f"--dbname={name}"]
    os.execvpe(dump[0], dump, {**os.environ, **(more or {})})
END
mv "$folder.part" "$folder"
echo "$folder: $(ls "$folder" | tr '\n' ' ')"
