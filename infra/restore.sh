#!/bin/sh
# What infra/backup.sh wrote, back to where it was: into databases made by infra/databases.sh, a bucket that is there,
# and a home. No server and no run may use them meanwhile.
#   infra/restore.sh FOLDER
# The environment is that of infra/backup.sh, with the passwords of now. Rows and files of the same name are replaced.
# Nothing is, if the backup is not whole or has changed.
set -eu
umask 077
here=$(dirname "$0")
folder=${1:?a folder that infra/backup.sh wrote}
(cd "$folder" && sha256sum --check --quiet --strict SHA256SUMS)
if [ -f "$folder/mlflow.dump" ]; then
    : "${MLFLOW_DB_PASSWORD:?}" "${MLFLOW_USERS_DB_PASSWORD:?}" "${PREFECT_DB_PASSWORD:?}"
fi
home=$(python -P -m tasks.services.backups check "$folder")

load() {
    PGUSER=$1 PGPASSWORD=$2 pg_restore --dbname="$1" --clean --if-exists --no-owner --no-privileges \
        --single-transaction --exit-on-error "$folder/$1.dump"
}

# Files first: no row may name a file that is not there yet.
if [ -d "$folder/objects" ]; then
    python "$here/objects.py" "$folder/objects" "$MLFLOW_ARTIFACTS_DESTINATION"
fi
if [ -f "$folder/home.tar" ]; then
    mkdir -p "$home"
    tar --extract --file="$folder/home.tar" --directory="$home"
fi
python -P -m tasks.services.backups end "$folder" >/dev/null
if [ -f "$folder/mlflow.dump" ]; then
    load mlflow "$MLFLOW_DB_PASSWORD"
    load mlflow_users "$MLFLOW_USERS_DB_PASSWORD"
    load prefect "$PREFECT_DB_PASSWORD"
fi
