"""Backup, loss, restore and upgrade of PostgreSQL, the object store and the home, with the scripts of infra/."""

import os
import shutil
import sqlite3
import subprocess

import boto3
import helpers
import pandas as pd
import pytest
import requests
import servers
import warm

needs_postgres = pytest.mark.skipif(servers.POSTGRES is None, reason="PostgreSQL is not installed")

#: Two versions of a model, of which none is the champion.
REGISTER = """
import tiny_versions
for weight in (4.0, 5.0):
    tiny_versions.register("tiny", weight)
"""
#: The commands of infra/README.md that bring the databases to a new release, by service.
UPGRADES = {
    "mlflow": """sh -c 'mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"'""",
    "prefect": "prefect server database upgrade -y",
}


def run(command, folder, **env):
    """A command in an environment that has nothing of ours besides, as a person gives it."""
    env = helpers.outside() | {"PATH": f"{servers.BIN}{os.pathsep}{os.environ['PATH']}"} | env
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)


def fine(command, folder, **env):
    done = run(command, folder, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def registered(folder, **env):
    done = warm.run(env=helpers.outside() | env, cwd=folder, code=REGISTER)
    assert done.code == 0, done.err


def verified(folder, **env):
    done = warm.run("verify", "--json", env=helpers.outside() | env, cwd=folder)
    assert done.code == 0, done.err
    return done.json


def script(name):
    return ["sh", str(servers.INFRA / name)]


@needs_postgres
def test_all_is_lost_and_restored_and_every_version_is_as_it_was(tmp_path):
    home, backup = tmp_path / "home", tmp_path / "backup"
    with servers.running(tmp_path) as there:
        client = there.client | {"HEADSTART_HOME": str(home)}
        tools = there.tools | {"HEADSTART_HOME": str(home)}
        store = boto3.resource(
            "s3", endpoint_url=there.secrets["S3_ENDPOINT"], aws_access_key_id="key", aws_secret_access_key="secret"
        ).Bucket("mlflow")
        flows = f"{there.client['PREFECT_API_URL']}/variables", tuple(there.secrets["PREFECT_AUTH"].split(":"))
        assert requests.post(f"{flows[0]}/", json={"name": "kept", "value": 1}, auth=flows[1], timeout=60).ok
        registered(tmp_path, **client)
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
        versions = verified(tmp_path, **client)
        assert [(each["model"], each["version"]) for each in versions] == [("tiny", "2"), ("tiny", "1")]
        models = f"{there.client['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/get?name=tiny"
        login = tuple(there.client[f"MLFLOW_TRACKING_{name}"] for name in ("USERNAME", "PASSWORD"))
        found = requests.get(models, auth=login, timeout=60).json()["registered_model"]
        assert found["aliases"] == [{"alias": "challenger", "version": "2"}]
        assert requests.get(f"{flows[0]}/name/kept", auth=flows[1], timeout=60).json()["value"] == 1


def test_a_home_without_servers_is_backed_up_and_restored(tmp_path):
    home, backup = tmp_path / "a home", tmp_path / "a backup"
    env = {"HEADSTART_HOME": str(home)}
    registered(tmp_path, **env)
    (home / "artifacts" / "a.db").mkdir()
    (home / "artifacts" / "a.db" / "file").write_text("no database")
    rows = pd.DataFrame({"key": ["a" * 64, "b" * 64], "uri": ["1.png", "2.png"], "label": ["cat", "dog"]})
    (home / "store" / "datasets" / "d1").mkdir(parents=True)
    images = rows.assign(split="train", corrected_from=None)
    images.to_parquet(home / "store" / "datasets" / "d1" / "images.parquet")
    rows.assign(recipe="pets", dataset="d1", corrected=["dog", ""]).to_csv(tmp_path / "mine.csv")
    fine([*script("backup.sh"), str(backup)], tmp_path, **env)
    shutil.rmtree(home)
    fine([*script("restore.sh"), str(backup)], tmp_path, **env)
    assert (home / "artifacts" / "a.db" / "file").read_text() == "no database"
    assert len(verified(tmp_path, **env)) == 2
    # A table that a person had filled in before.
    done = warm.run("labels", "apply", "mine.csv", "--json", env=helpers.outside() | env, cwd=tmp_path)
    assert len(done.json["changes"]) == 1, done.err

    # A disk that is full, or a process that is killed, leaves nothing that looks like a backup.
    (home / "artifacts" / "large").write_bytes(bytes(10**7))
    command = f"ulimit -f 6000; exec sh '{servers.INFRA}/backup.sh' cut"
    cut = run(["sh", "-c", command], tmp_path, **env)
    assert cut.returncode != 0
    assert "This is no whole backup: cut" in cut.stderr
    assert run([*script("restore.sh"), "cut"], tmp_path, **env).returncode != 0
    (home / "artifacts" / "large").unlink()

    # Of a backup that was cut short or changed, nothing is restored.
    with sqlite3.connect(backup / "mlflow.db") as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    moved = tmp_path / "moved"
    home.rename(moved)
    assert "mlflow.db: FAILED" in run([*script("restore.sh"), str(backup)], tmp_path, **env).stdout
    sums = (backup / "SHA256SUMS").read_text().splitlines(keepends=True)
    (backup / "SHA256SUMS").write_text("".join(line for line in sums if "mlflow.db" not in line))
    (backup / "mlflow.db").unlink()
    assert "Expected home.tar and a database" in run([*script("restore.sh"), str(backup)], tmp_path, **env).stderr
    (backup / "SHA256SUMS").unlink()
    assert run([*script("restore.sh"), str(backup)], tmp_path, **env).returncode != 0
    assert not home.exists()

    # A database elsewhere is where the settings name it; without them, there is nothing to back up.
    moved.rename(home)
    (home / "mlflow.db").rename(tmp_path / "ml.db")
    env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/ml.db"}
    for left_out, words in (
        ("HEADSTART_HOME", "Expected a home folder"),
        ("MLFLOW_TRACKING_URI", "Expected MLflow's database"),
    ):
        refused = run([*script("backup.sh"), "none"], tmp_path, **{n: v for n, v in env.items() if n != left_out})
        assert refused.returncode != 0
        assert words in refused.stderr
        assert not (tmp_path / "none").exists()
    served = env | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    fine([*script("backup.sh"), "alone", "--home-only"], tmp_path, **served)
    fine([*script("backup.sh"), "second"], tmp_path, **env)
    shutil.rmtree(home)
    fine([*script("restore.sh"), "alone"], tmp_path, **served)
    assert (home / "labels" / "pets.csv").is_file()
    shutil.rmtree(home)
    (tmp_path / "ml.db").unlink()
    fine([*script("restore.sh"), "second"], tmp_path, **env)
    assert (tmp_path / "ml.db").read_bytes() == (tmp_path / "second" / "tracking.db").read_bytes()
    assert (home / "labels" / "pets.csv").is_file()
