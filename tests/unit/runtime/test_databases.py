"""Databases of a home: half-made, older, newer and damaged ones; what is whole is opened without a lock."""

import dataclasses
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from tasks.runtime import databases
from tasks.runtime.errors import DependencyError

KINDS = [databases.MLFLOW, databases.PREFECT, databases.OPTUNA]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some.db"


def _made(file, *statements):
    with closing(sqlite3.connect(file)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def _at(file, revision, *statements):
    _made(
        file,
        "CREATE TABLE alembic_version (version_num)",
        f"INSERT INTO alembic_version VALUES ('{revision}')",
        *statements,
    )


USED = {
    kind: (f"CREATE TABLE {kind.tables[0]} (name)", f"INSERT INTO {kind.tables[0]} VALUES ('mine')") for kind in KINDS
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.library)
class TestEachDatabase:
    def test_what_the_file_says(self, kind, file):
        newest = databases._newest(kind)
        old = sorted(databases._migrations(kind)[0] - {newest})[0]
        assert databases.state(kind, file) == "missing"
        file.touch()
        assert databases.state(kind, file) == "unfinished"
        _made(file, USED[kind][0])
        assert databases.state(kind, file) == "unfinished"
        for revision, there in [(old, "older"), ("0123456789ab", "newer"), (newest, "whole")]:
            file.unlink()
            _at(file, revision, *USED[kind])
            assert databases.state(kind, file) == there
        file.write_bytes(b"no database, though long enough to be one" * 40)
        assert databases.state(kind, file) == "damaged"

    def test_one_that_was_never_finished_is_made_again_and_kept(self, kind, file):
        _made(file, USED[kind][0])
        with databases.opening(kind, file):
            assert not file.exists()
            _at(file, databases._newest(kind))
        kept = [other for other in file.parent.glob("some.db.2*")]
        assert len(kept) == 1
        assert databases.state(kind, file) == "whole"

    @pytest.mark.parametrize("revision", ["0123456789ab", ""])
    def test_one_of_a_newer_version_or_a_damaged_one_is_named_and_left_alone(self, kind, file, revision):
        if revision:
            _at(file, revision, *USED[kind])
        else:
            file.write_bytes(b"no database, though long enough to be one" * 40)
        before = file.read_bytes()
        with pytest.raises(DependencyError, match=r"some\.db"), databases.opening(kind, file):
            pytest.fail("it was opened")
        assert file.read_bytes() == before
        assert databases.complaint(kind, file)


def test_an_older_one_is_named_and_prefects_is_copied_before_prefect_upgrades_it(file):
    for kind in KINDS:
        file.unlink(missing_ok=True)
        old = sorted(databases._migrations(kind)[0] - {databases._newest(kind)})[0]
        _at(file, old, *USED[kind])
        if kind is databases.PREFECT:
            with databases.opening(kind, file):
                (copy,) = file.parent.glob("some.db.2*")
                assert databases.state(kind, copy) == "older"
            assert not databases.complaint(kind, file)
        else:
            with pytest.raises(DependencyError, match="doctor --repair"), databases.opening(kind, file):
                pytest.fail("it was opened")
            assert "doctor --repair" in databases.complaint(kind, file)


def test_optunas_is_upgraded_with_its_trials(file):
    import optuna

    optuna.create_study(study_name="mine", storage=f"sqlite:///{file}")
    _made(file, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    assert databases.state(databases.OPTUNA, file) == "older"
    assert "upgraded" in databases.upgrade(databases.OPTUNA, file)
    assert databases.state(databases.OPTUNA, file) == "whole"
    assert optuna.load_study(study_name="mine", storage=f"sqlite:///{file}").trials == []
    assert databases.upgrade(databases.OPTUNA, file) == ""


def test_mlflows_is_upgraded_with_its_experiments(file):
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import InitialBase, _get_alembic_config

    address = f"sqlite:///{file}"
    engine = sqlalchemy.create_engine(address)
    InitialBase.metadata.create_all(engine)
    old = sorted(databases._migrations(databases.MLFLOW)[1] & databases._migrations(databases.MLFLOW)[0])[0]
    with engine.begin() as connection:
        config = _get_alembic_config(address)
        config.attributes["connection"] = connection
        command.upgrade(config, old)
        connection.execute(sqlalchemy.text("INSERT INTO experiments (name, lifecycle_stage) VALUES ('pets', 'active')"))
        connection.execute(sqlalchemy.text("INSERT INTO runs (run_uuid, experiment_id) VALUES ('a', 1)"))
    engine.dispose()
    assert databases.state(databases.MLFLOW, file) == "older"
    assert "upgraded" in databases.upgrade(databases.MLFLOW, file)
    from mlflow import MlflowClient

    assert "pets" in {found.name for found in MlflowClient(address).search_experiments()}


def test_what_cannot_be_upgraded_is_as_it_was(file):
    spoils = "import sqlite3, sys; sqlite3.connect(sys.argv[1][10:]).execute('DROP TABLE studies'); sys.exit('no way')"
    kind = dataclasses.replace(databases.OPTUNA, upgrade=("-c", spoils))
    _at(file, "v2.6.0.a", *USED[databases.OPTUNA])
    with pytest.raises(DependencyError, match="which is as it was: no way"):
        databases.upgrade(kind, file)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT * FROM studies").fetchall() == [("mine",)]
    assert databases.state(kind, file) == "older"


def test_the_second_of_two_waits_and_finds_it_whole(file):
    """The second comes while the first has made half of it, which must not look finished to it."""
    script = f"""
import sqlite3, sys, time
from pathlib import Path
from tasks.runtime import databases
with databases.opening(databases.OPTUNA, Path({str(file)!r})):
    with sqlite3.connect({str(file)!r}) as there:
        there.execute("CREATE TABLE studies (name)")
    print("half", flush=True)
    sys.stdin.readline()
    with sqlite3.connect({str(file)!r}) as there:
        there.execute("CREATE TABLE alembic_version (version_num)")
        there.execute("INSERT INTO alembic_version VALUES ({databases._newest(databases.OPTUNA)!r})")
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "half\n"
        assert databases.state(databases.OPTUNA, file) == "unfinished"
        threading.Timer(0.2, lambda: first.communicate("go\n")).start()
        with databases.opening(databases.OPTUNA, file):
            assert databases.state(databases.OPTUNA, file) == "whole"
    assert not list(file.parent.glob("some.db.2*"))
