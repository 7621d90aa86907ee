"""What a backup has to hold, and what makes one that is not whole."""

import sqlite3

import pytest

from tasks.runtime.errors import UsageError
from tasks.services import backups


def database(file, *places):
    """A database with the columns of MLflow's that say where files are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE runs (artifact_uri, lifecycle_stage)")
        made.execute("CREATE TABLE logged_models (artifact_location, lifecycle_stage)")
        made.execute("CREATE TABLE model_versions (storage_location, current_stage)")
        made.executemany("INSERT INTO runs VALUES (?, 'active')", [(str(place),) for place in places])
        made.execute("INSERT INTO runs VALUES ('file:///deleted', 'deleted')")
        made.execute("INSERT INTO model_versions VALUES ('models:/m-1', 'None'), (NULL, 'None')")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A home with a database and the files of a run, and no word of it in the environment but its name."""
    for name in (backups.SERVER, backups.DESTINATION, backups.TRACKING):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "a home"
    database(home / "mlflow.db", (home / "artifacts" / "pets").as_uri())
    monkeypatch.setenv("HEADSTART_HOME", str(home))
    return home


def refused(words, step, folder):
    with pytest.raises(UsageError, match=words):
        step(folder)


def test_the_home_is_found_as_headstart_finds_it(own, tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTART_HOME")
    monkeypatch.chdir(tmp_path)
    refused("a home folder, found none at .*.headstart", backups.begin, tmp_path / "b")
    own.rename(tmp_path / ".headstart")
    monkeypatch.setenv(backups.DESTINATION, str(own / "artifacts"))
    backups.begin(tmp_path / "b")
    assert {file.name for file in (tmp_path / "b").iterdir()} == {"mlflow.db"}


def test_nothing_is_written_where_something_is_not_in_reach(own, tmp_path, monkeypatch):
    to = tmp_path / "b"
    with monkeypatch.context() as other:
        for address in ("http://server:5000", "postgresql://me:secret@host/mlflow"):
            other.setenv(backups.TRACKING, address)
            refused("Expected PGHOST and the passwords of the databases of [^ ]*server|host", backups.begin, to)
        other.setenv(backups.TRACKING, f"sqlite:///{tmp_path}/none.db")
        refused("MLflow's database at .*none.db, found none", backups.begin, to)
        other.setenv(backups.SERVER, "host")
        refused("Expected MLFLOW_ARTIFACTS_DESTINATION", backups.begin, to)
        other.setenv(backups.DESTINATION, "s3://mlflow")
        refused("none.db, found none", backups.begin, to)
    refused("outside of the home", backups.begin, own / "backups")
    refused("in one that is there, found .*No such file", backups.begin, tmp_path / "no" / "b")
    assert not to.exists()
    (own / "mlflow.db").rename(own / "other.db")
    refused("database at .*mlflow.db, found none", backups.begin, to)
    (own / "mlflow.db").write_bytes(b"no database" * 100)
    refused("a sound database", backups.begin, to)
    assert not to.exists()


@pytest.mark.parametrize(
    ("place", "found_in"),
    [
        ("file:///srv/mlruns/1/artifacts", "/srv/mlruns"),
        ("/srv/mlruns/1/artifacts", "file:///srv/mlruns"),
        ("s3://bucket/mlflow/1", "s3://bucket/mlflow/"),
        ("mlflow-artifacts:/1", "s3://bucket"),
    ],
)
def test_files_of_runs_outside_the_home_are_asked_for(own, tmp_path, monkeypatch, place, found_in):
    database(tmp_path / "ml.db", place)
    monkeypatch.setenv(backups.TRACKING, f"sqlite:///{tmp_path}/ml.db")
    refused("found 1 places elsewhere", backups.begin, tmp_path / "b")
    monkeypatch.setenv(backups.DESTINATION, found_in)
    backups.begin(tmp_path / "b")
    assert {file.name for file in (tmp_path / "b").iterdir()} == {"mlflow.db", "tracking.db"}


def test_a_home_of_a_server_that_has_its_own_backup_can_be_kept_alone(own, tmp_path, monkeypatch):
    (own / "mlflow.db").unlink()
    monkeypatch.setenv(backups.TRACKING, "http://server:5000")
    refused("--home-only after the folder", backups.begin, tmp_path / "b")
    backups.begin(tmp_path / "b", home_only=True)
    assert [file.name for file in (tmp_path / "b").iterdir()] == [backups.HOME_ONLY]
    backups.check(whole(tmp_path / "b", "home.tar", backups.HOME_ONLY))


def test_a_folder_of_the_home_that_lies_elsewhere_is_not_left_out(own, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (own / "store").symlink_to(tmp_path / "disk")
    (own / "labels").symlink_to(tmp_path / "disk")
    refused("found links that lead elsewhere: 'labels'", backups.begin, tmp_path / "b")
    (own / "labels").rename(own / "artifacts")
    refused("found links that lead elsewhere: 'artifacts'", backups.begin, tmp_path / "b")
    monkeypatch.setenv(backups.DESTINATION, str(tmp_path / "disk"))
    backups.begin(tmp_path / "b")


def test_a_folder_that_is_there_is_left_alone(own, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("mine")
    refused("Expected a new folder .*File exists", backups.begin, tmp_path / "b")
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["mine"]


def whole(folder, *names):
    """A folder that looks like a backup."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "SHA256SUMS").write_text("a line\n" * len(names))
    return folder


def test_of_a_backup_with_a_missing_part_nothing_is_restored(own, tmp_path, monkeypatch):
    refused("Expected home.tar and a database", backups.check, whole(tmp_path / "1"))
    refused("Expected home.tar and a database", backups.check, whole(tmp_path / "2", "home.tar"))
    refused("found no mlflow_users.dump", backups.check, whole(tmp_path / "3", "mlflow.dump", "prefect.dump"))
    servers = whole(tmp_path / "4", *backups.DUMPS, "home.tar")
    refused("files of MLflow's server", backups.check, servers)
    servers = whole(tmp_path / "4", *backups.DUMPS, "home.tar", "objects/1")
    refused("Expected PGHOST", backups.check, servers)
    monkeypatch.setenv(backups.SERVER, "host")
    refused("Expected MLFLOW_ARTIFACTS_DESTINATION", backups.check, servers)
    monkeypatch.setenv(backups.DESTINATION, "s3://mlflow")
    backups.check(servers)
    (servers / "more").touch()
    refused("Expected 5 files .* found 6", backups.check, servers)


def test_a_database_goes_back_to_where_the_settings_say(own, tmp_path, monkeypatch):
    elsewhere = tmp_path / "ml.db"
    (own / "mlflow.db").rename(elsewhere)
    monkeypatch.setenv(backups.TRACKING, f"sqlite:///{elsewhere}")
    backup = tmp_path / "b"
    backups.begin(backup)
    (backup / "home.tar").touch()
    (backup / "SHA256SUMS").write_text("a line\n" * 2)
    monkeypatch.delenv(backups.TRACKING)
    refused("MLFLOW_TRACKING_URI as it was", backups.check, backup)
    monkeypatch.setenv(backups.TRACKING, f"sqlite:///{elsewhere}")
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "moved"))
    refused("the home to its own path", backups.check, backup)
    monkeypatch.setenv("HEADSTART_HOME", str(own))
    backups.check(backup)
    elsewhere.write_bytes(b"")
    elsewhere.with_name("ml.db-wal").touch()
    backups.end(backup)
    assert elsewhere.read_bytes() == (backup / "tracking.db").read_bytes()
    assert not elsewhere.with_name("ml.db-wal").exists()
