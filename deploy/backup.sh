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
# data.tar has those of DATA_DIR by their names in it, files.tar has others by their whole paths.
"${PYTHON:-.venv/bin/python}" - "$folder.part" <<'END'
import json
import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

folder = Path(sys.argv[1])
named = {
    "AUDIT_SIGNING_KEY_FILE": [settings.AUDIT_SIGNING_KEY_FILE],
    "AUDIT_CHECKPOINT_DIR": [settings.AUDIT_CHECKPOINT_DIR],
    "AUDIT_TRUSTED_KEYS": settings.AUDIT_TRUSTED_KEYS,
}
named = {name: [str(Path(p).resolve()) for p in paths if p] for name, paths in named.items()}
# Written first: a folder that has this file is a backup, and is in no other one.
marker = folder / "dwp-backup.json"
marker.write_text(json.dumps({"DATA_DIR": str(settings.DATA_DIR), **named}, indent=1))

left_out = [settings.DATA_DIR / "redis", settings.DATA_DIR / "redis.sock"]
if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    database = Path(settings.DATABASES["default"]["NAME"]).resolve()
    left_out += [Path(f"{database}{end}") for end in ("", "-wal", "-shm", "-journal")]
paths = [Path(p) for each in named.values() for p in each]
paths += [Path(p).resolve() for p in os.environ["more"].splitlines()]
outside = {p for p in paths if p.exists() and not p.is_relative_to(settings.DATA_DIR)}
for other in {m.parent for p in (settings.DATA_DIR, *outside) for m in p.rglob(marker.name)} - {folder}:
    print(f"Left out, because it is a backup itself: {other}")


def pack(archive, base, names, out):
    (folder / "names").write_bytes(b"\0".join(map(os.fsencode, sorted(names))))
    (folder / "left-out").write_bytes(b"".join(os.fsencode(name) + b"\n" for name in out))
    command = ["tar", f"--directory={base}", "--anchored", "--no-wildcards"]
    command += [f"--exclude-from={folder}/left-out", f"--exclude-tag-all={marker.name}"]
    command += ["--null", f"--files-from={folder}/names", f"--file={folder}/{archive}", "--create"]
    # 1: a file was written to meanwhile, as checkpoints are.
    if (code := subprocess.run(command).returncode) > 1:
        sys.exit(code)
    (folder / "names").unlink()
    (folder / "left-out").unlink()


inside = [p.name for p in settings.DATA_DIR.iterdir() if p not in left_out and not p.is_socket()]
within = [p.relative_to(settings.DATA_DIR) for p in left_out if p.is_relative_to(settings.DATA_DIR)]
pack("data.tar", settings.DATA_DIR, [f"./{name}" for name in inside], [f"./{p}" for p in within])
pack("files.tar", "/", [str(p).lstrip("/") for p in outside], [str(p).lstrip("/") for p in left_out])
END

"${PYTHON:-.venv/bin/python}" - "$folder.part" <<'END'
import os
import sqlite3
import sys
from pathlib import Path

import django
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

django.setup()
folder = sys.argv[1]
if connection.vendor == "sqlite":
    address = Path(connection.settings_dict["NAME"]).resolve().as_uri()
    source = sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=60)
    copy = sqlite3.connect(f"{folder}/database.sqlite3")
    source.backup(copy)
    if copy.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
        sys.exit("The copy could not be closed.")
    if (said := copy.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
        sys.exit(f"The copy is damaged: {said}")
    tables = copy.execute("SELECT name FROM sqlite_master").fetchall()
    if ("django_migrations",) not in tables or not copy.execute("SELECT * FROM django_migrations").fetchone():
        sys.exit(f"The copy has no tables. Is DATABASE_URL right? It leads to {address}.")
    copy.close()
else:
    if not MigrationRecorder(connection).applied_migrations():
        sys.exit("The database has no tables. Is DATABASE_URL right?")
    connection.close_pool()
    arguments, more = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    *options, name = arguments[1:]
    dump = ["pg_dump", "--format=custom", f"--file={folder}/database.dump", *options, f"--dbname={name}"]
    os.execvpe(dump[0], dump, {**os.environ, **(more or {})})
END
mv "$folder.part" "$folder"
echo "$folder: $(ls "$folder" | tr '\n' ' ')"
