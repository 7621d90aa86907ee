"""Backup, loss, restore and upgrade of PostgreSQL, the object store and the home, with the scripts of infra/."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import boto3
import helpers
import pytest
import servers

needs_postgres = pytest.mark.skipif(servers.POSTGRES is None, reason="PostgreSQL is not installed")

BRIEF = """
[ladder]
start_at = "head"
stop_at = "head"
[audit]
enabled = false
[transfer_check]
enabled = false
"""
REGISTER = """
import sys
sys.path.insert(0, sys.argv[1])
from tasks.runtime.home import configure
configure()
import tiny_versions
for weight in (4.0, 5.0):
    tiny_versions.register("tiny", weight)
"""
#: The commands of infra/README.md that bring the databases to a new release, by service.
UPGRADES = {
    "mlflow": """sh -c 'mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"'""",
    "prefect": "prefect server database upgrade -y",
}
HEADSTART = str(servers.BIN / "headstart")


def run(command, folder, **env):
    """A command in an environment that has nothing of ours besides, as a person gives it."""
    env = helpers.outside() | {"PATH": f"{servers.BIN}{os.pathsep}{os.environ['PATH']}"} | env
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)


def fine(command, folder, **env):
    done = run(command, folder, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(name):
    return ["sh", str(servers.INFRA / name)]


@needs_postgres
def test_all_is_lost_and_restored_and_every_version_is_as_it_was(tmp_path):
    photos = helpers.photos(tmp_path / "photos", each=12)
    (tmp_path / "colours.toml").write_text(helpers.recipe(photos, "colours", BRIEF))
    home, backup = tmp_path / "home", tmp_path / "backup"
    with servers.running(tmp_path) as there:
        client = there.client | {"HEADSTART_HOME": str(home)}
        tools = there.tools | {"HEADSTART_HOME": str(home)}
        store = boto3.resource(
            "s3", endpoint_url=there.secrets["S3_ENDPOINT"], aws_access_key_id="key", aws_secret_access_key="secret"
        ).Bucket("mlflow")
        fine([HEADSTART, "train", "colours.toml"], tmp_path, **client)
        fine([sys.executable, "-c", REGISTER, str(helpers.HERE)], tmp_path, **client)
        before = json.loads(fine([HEADSTART, "models", "--json"], tmp_path, **client))
        assert [(each["model"], each["version"]) for each in before] == [("colours", "1"), ("tiny", "2"), ("tiny", "1")]
        (home / "labels").mkdir(exist_ok=True)
        (home / "labels" / "colours.csv").write_text("key,uri,label,corrected\n")
        store.put_object(Key="odd/a file #%20 \u00e4.txt", Body=b"text")

        fine([*script("backup.sh"), str(backup)], tmp_path, **tools)
        assert backup.stat().st_mode & 0o077 == 0

        for server in (there.mlflow, there.prefect):
            server.stop()
        superuser = there.tools | {"PGUSER": "postgres", "PGPASSWORD": there.secrets["POSTGRES_PASSWORD"]}
        for name in ("mlflow", "mlflow_users", "prefect"):
            fine(["dropdb", "--force", name], tmp_path, **superuser)
        store.objects.all().delete()
        shutil.rmtree(home)
        fine([str(servers.INFRA / "databases.sh")], tmp_path, **superuser)

        fine([*script("restore.sh"), str(backup)], tmp_path, **tools)
        for service, command in UPGRADES.items():
            assert f"{service} {command}" in (servers.INFRA / "README.md").read_text()
            env = servers.environment(service, there.secrets) | there.where
            fine(["sh", "-c", command.removeprefix("sh -c ").strip("'")], tmp_path, **env)
        for server in (there.mlflow, there.prefect):
            server.start()
        assert store.Object("odd/a file #%20 \u00e4.txt").get()["Body"].read() == b"text"
        assert (home / "labels" / "colours.csv").is_file()
        assert json.loads(fine([HEADSTART, "models", "--json"], tmp_path, **client)) == before
        verified = json.loads(fine([HEADSTART, "verify", "--json"], tmp_path, **client))
        assert [(each["model"], each["version"]) for each in verified] == [
            ("colours", "1"),
            ("tiny", "2"),
            ("tiny", "1"),
        ]


def test_a_home_without_servers_is_backed_up_and_restored(tmp_path):
    home, backup = tmp_path / "home", tmp_path / "backup"
    env = {"HEADSTART_HOME": str(home)}
    fine([sys.executable, "-c", REGISTER, str(helpers.HERE)], tmp_path, **env)
    (home / "artifacts" / "a.db").mkdir()
    (home / "artifacts" / "a.db" / "file").write_text("no database")
    fine([*script("backup.sh"), str(backup)], tmp_path, **env)
    shutil.rmtree(home)
    fine([*script("restore.sh"), str(backup)], tmp_path, **env)
    assert (home / "artifacts" / "a.db" / "file").read_text() == "no database"
    assert len(json.loads(fine([HEADSTART, "verify", "--json"], tmp_path, **env))) == 2

    # Of a backup that was cut short or changed, nothing is restored.
    with sqlite3.connect(backup / "mlflow.db") as database:
        database.execute("CREATE TABLE other (x)")
    shutil.rmtree(home)
    assert "mlflow.db: FAILED" in run([*script("restore.sh"), str(backup)], tmp_path, **env).stdout
    (backup / "SHA256SUMS").unlink()
    assert run([*script("restore.sh"), str(backup)], tmp_path, **env).returncode != 0
    assert not home.exists()
