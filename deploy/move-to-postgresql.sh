#!/bin/sh
# Moves every row of this deployment from one database to another: SQLite to PostgreSQL, or back.
#
#   deploy/move-to-postgresql.sh postgres://dwp:password@127.0.0.1/dwp
#
# Run it with the environment of the processes: DATABASE_URL is the database that is left, the
# argument the new one, which must be empty. Stop every process before. Ends with 0 once every row
# is the same in both and the audit holds; otherwise the old database is what counts, unchanged. The
# old one has to be migrated by this version; the new one is.
# PYTHON is the Python of the processes, by default .venv/bin/python. TMPDIR needs room for twice
# what `dumpdata` writes.
set -eu
umask 077

manage() { "${PYTHON:-.venv/bin/python}" manage.py "$@"; }
manage_new() { (DATABASE_URL=$new && export DATABASE_URL && manage "$@"); }
# In one order, because each database has its own for some of them.
dump() { "$1" dumpdata --format jsonl --output "$2" --verbosity 0 && LC_ALL=C sort -o "$2" "$2"; }
stop() { echo "$*" >&2; exit 1; }

[ $# -eq 1 ] || stop "usage: $0 DATABASE_URL-of-the-new-database"
new=$1
cd "$(dirname "$0")/.."
[ "$new" != "${DATABASE_URL:-}" ] || stop "The new database is the one that DATABASE_URL names."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

manage migrate --check >/dev/null || stop \
    "The old database is of another version: run \`manage.py migrate\` on it first."
echo "Making the tables of the new database."
manage_new migrate --verbosity 0
manage_new dumpdata --format jsonl --output "$folder/there.jsonl" --verbosity 0 \
    --exclude contenttypes --exclude auth.permission --exclude deployment
[ ! -s "$folder/there.jsonl" ] || stop "The new database has rows already. Name an empty one."

echo "Reading the old database."
dump manage "$folder/old.jsonl"
echo "Writing $(wc -l <"$folder/old.jsonl") rows to the new database."
manage_new loaddata "$folder/old.jsonl" --verbosity 0

echo "Comparing both."
# The old one is read again: something may have used it meanwhile.
dump manage "$folder/old.jsonl"
dump manage_new "$folder/new.jsonl"
cmp "$folder/old.jsonl" "$folder/new.jsonl" || stop \
    "The rows differ. If a process still used the old database, stop it, and begin again with an" \
    "empty new one."
manage_new verify_audit
echo "Every row is the same. From now on DATABASE_URL is the new database's: start no process with the old one."
