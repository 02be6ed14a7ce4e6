#!/bin/sh
# Puts a copy that backup.sh made in the place of a database that is gone.
#
#   deploy/restore.sh /backups/2026-11-30
#
# Run it with the environment of the processes, and stop all of them before. It overwrites nothing:
# move the old SQLite file away, with its -wal and -shm, or make a new, empty PostgreSQL database.
# Files that are there stay as they are, and those that are missing are put back: those of DATA_DIR
# into this environment's DATA_DIR, others where they were. Then it migrates, and runs
# `renew_deployment`. PYTHON and the PATH are as for backup.sh.
set -eu
umask 077

stop() { echo "$*" >&2; exit 1; }

[ $# -eq 1 ] || stop "usage: $0 FOLDER"
folder=$(cd "$1" && pwd) || stop "There is no folder $1."
cd "$(dirname "$0")/.."
export DJANGO_SETTINGS_MODULE=dwp_project.settings

# The files first: settings name keys among them, and would have others generated. So this reads the
# environment itself, and looks at everything before it writes anything.
"${PYTHON:-.venv/bin/python}" - "$folder" <<'END'
import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

folder = Path(sys.argv[1])
try:
    kept = json.loads((folder / "dwp-backup.json").read_text())
except FileNotFoundError:
    sys.exit(f"{folder} is no backup: it has no dwp-backup.json.")
data_dir, before = Path(os.environ.get("DATA_DIR") or ".data").expanduser().resolve(), kept["DATA_DIR"]
is_moved = str(data_dir) != before
checkpoints = os.environ.get("AUDIT_CHECKPOINT_DIR") or f"{data_dir}/checkpoints"
named = {
    "AUDIT_SIGNING_KEY_FILE": [os.environ.get("AUDIT_SIGNING_KEY_FILE", "")],
    "AUDIT_CHECKPOINT_DIR": [checkpoints],
    "AUDIT_TRUSTED_KEYS": os.environ.get("AUDIT_TRUSTED_KEYS", "").split(","),
}
wrong = []
for name, values in named.items():
    paths = [Path(value.strip()).resolve() for value in values if value.strip()]
    old = [Path(path) for path in kept[name]]
    moved = [data_dir / p.relative_to(before) if p.is_relative_to(before) else p for p in old]
    if sorted(paths) != sorted(moved):
        wrong.append(f"  {name}={','.join(map(str, moved))}")
if wrong:
    sys.exit(
        "Nothing was done: this environment has other paths than the backup, and would not use what "
        "is put back. Set them as they were (empty: not at all), and change them afterwards:\n"
        + "\n".join(wrong)
    )

with tarfile.open(folder / "files.tar") as archive:
    missing = [name for name in archive.getnames() if not os.path.lexists(f"/{name}")]


def can_be_made(path):
    there = next(each for each in path.parents if os.path.exists(each))
    return os.access(there, os.W_OK | os.X_OK)


def by_hand(names):
    return shlex.join(["tar", "-C", "/", "--skip-old-files", "-xpf", f"{folder}/files.tar", *names])


if is_moved and missing:
    print(f"DATA_DIR was {before}. Outside it nothing is put back. By hand: {by_hand(missing)}", file=sys.stderr)
elif by_root := [name for name in missing if not can_be_made(Path(f"/{name}"))]:
    sys.exit(
        "Nothing was done: files are missing in folders that this user may not write. Put them back "
        f"as root, and begin again:\n  {by_hand(by_root)}"
    )
data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
unpack = ["tar", "--skip-old-files", "-xpf"]
subprocess.run([*unpack, folder / "data.tar", "-C", data_dir], check=True)
if not is_moved:
    subprocess.run([*unpack, folder / "files.tar", "-C", "/"], check=True)
END

"${PYTHON:-.venv/bin/python}" - "$folder" <<'END'
import os
import shutil
import sys
from pathlib import Path

import django
from django.db import connection

django.setup()
folder = sys.argv[1]
if connection.vendor == "sqlite":
    source, target = f"{folder}/database.sqlite3", str(connection.settings_dict["NAME"])
    for path in (target, f"{target}-wal", f"{target}-shm", f"{target}-journal"):
        if os.path.exists(path):
            sys.exit(f"{path} is there. Move it away, with everything that begins with {target}.")
    if not os.path.exists(source):
        sys.exit(f"{folder} has no database.sqlite3: it was made of another kind of database.")
    shutil.copyfile(source, f"{target}.part")
    with open(f"{target}.part", "rb") as file:
        os.fsync(file.fileno())
    os.rename(f"{target}.part", target)
else:
    if connection.introspection.table_names():
        sys.exit("The database has tables. Name an empty one in DATABASE_URL.")
    connection.close_pool()
    if not os.path.exists(f"{folder}/database.dump"):
        sys.exit(f"{folder} has no database.dump: it was made of another kind of database.")
    arguments, more = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    *options, name = arguments[1:]
    restore = ["pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-acl"]
    restore += [*options, f"--dbname={name}", f"{folder}/database.dump"]
    os.execvpe(restore[0], restore, {**os.environ, **(more or {})})
END

"${PYTHON:-.venv/bin/python}" manage.py migrate --verbosity 0
# The database was not there a moment ago, so no server runs on it. A session that was leased while
# the backup was made would look as if one did.
"${PYTHON:-.venv/bin/python}" manage.py renew_deployment --force
