#!/bin/sh
# The databases, each with a role of the same name that owns it and can connect to no other. PostgreSQL's image runs
# this once, on an empty volume; by hand a superuser runs it as often as needed, for instance to change passwords.
#   PGHOST=… PGUSER=… PGPASSWORD=… MLFLOW_DB_PASSWORD=… MLFLOW_USERS_DB_PASSWORD=… PREFECT_DB_PASSWORD=… infra/databases.sh
set -eu
export PGUSER="${PGUSER:-${POSTGRES_USER:-postgres}}" PGDATABASE=postgres

database() {
    # The password comes by the environment, as everybody on a machine can read the words of its processes.
    ROLE_PASSWORD=$2 psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$1" <<'SQL'
\getenv password ROLE_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'name')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

database mlflow "${MLFLOW_DB_PASSWORD:?}"
database mlflow_users "${MLFLOW_USERS_DB_PASSWORD:?}"
database prefect "${PREFECT_DB_PASSWORD:?}"
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --command='REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC'
