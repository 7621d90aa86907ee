#!/bin/sh
# All that cannot be computed again, into a new folder: the databases, the files of runs and versions, the home.
#   infra/backup.sh FOLDER [--home-only]
# A version's files are stored before its row is, and never changed: databases first, then files, so that each version
# of a backup has all of its files. Runs may go on meanwhile; `mlflow gc` may not. Where something is not in reach that
# belongs into a backup, nothing is written. With --home-only it is the home alone: the server has a backup of its own.
#
# From the environment, each only where it is used:
#   PGHOST, PGPORT, MLFLOW_DB_PASSWORD, MLFLOW_USERS_DB_PASSWORD, PREFECT_DB_PASSWORD    the databases of servers
#   MLFLOW_ARTIFACTS_DESTINATION, AWS_…               files of runs outside the home: MLflow's store, such as s3://mlflow
#   HEADSTART_HOME, MLFLOW_TRACKING_URI               the home, and MLflow's database if it is a SQLite file elsewhere
set -eu
umask 077
here=$(dirname "$0")
folder=${1:?where the backup goes: a new folder}
shift
if [ "$*" = --home-only ]; then
    unset PGHOST MLFLOW_ARTIFACTS_DESTINATION
fi
if [ -n "${PGHOST:-}" ]; then
    : "${MLFLOW_DB_PASSWORD:?}" "${MLFLOW_USERS_DB_PASSWORD:?}" "${PREFECT_DB_PASSWORD:?}"
fi
home=$(python -P -m tasks.services.backups begin "$folder" "$@")
trap '[ -f "$folder/SHA256SUMS" ] || echo "This is no whole backup: $folder. Delete it." >&2' EXIT

dump() {
    PGUSER=$1 PGPASSWORD=$2 pg_dump --dbname="$1" --format=custom --no-owner --no-privileges --file="$folder/$1.dump"
}

if [ -n "${PGHOST:-}" ]; then
    dump mlflow "$MLFLOW_DB_PASSWORD"
    dump mlflow_users "$MLFLOW_USERS_DB_PASSWORD"
    dump prefect "$PREFECT_DB_PASSWORD"
fi
if [ -n "${MLFLOW_ARTIFACTS_DESTINATION:-}" ]; then
    python "$here/objects.py" "$MLFLOW_ARTIFACTS_DESTINATION" "$folder/objects"
fi

# Exit code 1 is a file that a run has changed meanwhile, such as its log.
archive() {
    tar --file="$folder/home.tar" --directory="$home" --anchored --no-wildcards-match-slash "$@" || [ $? -eq 1 ]
}

# Left out: tables, copies of photos and results of stages, which the next run makes anew; databases in use. Data sets
# are small, and `headstart labels apply` needs them.
archive --create --exclude=./store --exclude=./prefect --exclude=./locks --exclude=./processes --exclude='./*.db*' .
for kept in ./store/datasets ./store/checksums/datasets; do
    if [ -d "$home/$kept" ]; then
        archive --append --exclude='./store/*/.*' "$kept"
    fi
done
# Written last, and whole: a folder without it is no whole backup.
(
    cd "$folder"
    find . -type f ! -path './SHA256SUMS*' -exec sha256sum {} + >SHA256SUMS.part
    mv SHA256SUMS.part SHA256SUMS
)
