#!/bin/sh
# All that cannot be computed again, into a new folder: the databases, the files of runs and versions, the home.
#   infra/backup.sh FOLDER
# A version's files are stored before its row is, and never changed: databases first, then files, so that each version
# of a backup has all of its files. Runs may go on meanwhile; `mlflow gc` may not.
#
# From the environment, each only where it is used:
#   PGHOST, PGPORT, MLFLOW_DB_PASSWORD, MLFLOW_USERS_DB_PASSWORD, PREFECT_DB_PASSWORD    the databases
#   MLFLOW_ARTIFACTS_DESTINATION, AWS_…                                                 MLflow's store, such as s3://mlflow
#   HEADSTART_HOME                                                                      the home
set -eu
umask 077
here=$(dirname "$0")
folder=${1:?where the backup goes: a new folder}
mkdir "$folder"

dump() {
    PGUSER=$1 PGPASSWORD=$2 pg_dump --dbname="$1" --format=custom --no-owner --no-privileges --file="$folder/$1.dump"
}

if [ -n "${PGHOST:-}" ]; then
    dump mlflow "${MLFLOW_DB_PASSWORD:?}"
    dump mlflow_users "${MLFLOW_USERS_DB_PASSWORD:?}"
    dump prefect "${PREFECT_DB_PASSWORD:?}"
fi
if [ -f "${HEADSTART_HOME:-}/mlflow.db" ]; then
    # Without servers; a plain copy of a file in use could be torn.
    python -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])' \
        "$HEADSTART_HOME/mlflow.db" "$folder/mlflow.db"
fi
if [ -n "${MLFLOW_ARTIFACTS_DESTINATION:-}" ]; then
    python "$here/objects.py" "$MLFLOW_ARTIFACTS_DESTINATION" "$folder/objects"
fi
if [ -n "${HEADSTART_HOME:-}" ]; then
    # Left out: tables, copies of photos and results of stages, which the next run makes anew; databases in use.
    # Exit code 1 is a file that a run has changed meanwhile, such as its log.
    tar --create --file="$folder/home.tar" --directory="$HEADSTART_HOME" --anchored --no-wildcards-match-slash \
        --exclude=./store --exclude=./prefect --exclude=./locks --exclude=./processes --exclude='./*.db*' . ||
        [ $? -eq 1 ]
fi
cd "$folder"
# Written last: a folder without it is no whole backup.
find . -type f ! -name SHA256SUMS -exec sha256sum {} + >SHA256SUMS
