#!/bin/sh
# Puts a copy that backup.sh made in the place of a database that is gone.
#
#   deploy/restore.sh /backups/2026-11-30
#
# Run it with the environment of the processes, and stop all of them before. It overwrites nothing:
# move the old SQLite file away, with its -wal and -shm, or make a new, empty PostgreSQL database.
# Files that are there stay as they are, and those that are missing are put back. Then it migrates,
# and runs `renew_deployment`. PYTHON and the PATH are as for backup.sh.
set -eu
umask 077

stop() { echo "$*" >&2; exit 1; }

[ $# -eq 1 ] || stop "usage: $0 FOLDER"
folder=$(cd "$1" && pwd) || stop "There is no folder $1."
cd "$(dirname "$0")/.."
export DJANGO_SETTINGS_MODULE=dwp_project.settings

# The files first: settings name keys among them, and would have others generated.
tar -C / --skip-old-files -xpf "$folder/files.tar"

"${PYTHON:-.venv/bin/python}" - "$folder" <<'END'
import os
import shutil
import sys
from pathlib import Path

from django.db import connection

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
# No server can run on what was not there a moment ago; the leases are of before.
"${PYTHON:-.venv/bin/python}" manage.py renew_deployment --force
