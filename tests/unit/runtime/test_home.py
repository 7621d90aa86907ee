"""The home folder, and an environment that other programs have filled."""

import errno
import os
import shutil
import sqlite3
from types import SimpleNamespace

import pytest

from tasks.runtime import home
from tasks.runtime.errors import DependencyError, UsageError, disk_full, not_writable, without_secrets


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets variables; what a test sets, and what `configure` sets, is put back."""
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def given(**values):
        os.environ.update(values)
        return home.configure(tmp_path / "home")

    return given


@pytest.mark.parametrize("place", ["file", "file/below", "logs", "prefect", "database"])
def test_a_home_that_cannot_be_written_is_refused_with_the_place_and_the_reason(environment, tmp_path, place):
    (tmp_path / "file").write_text("")
    for obstacle in ("logs/logs", "prefect/prefect"):
        (tmp_path / obstacle).parent.mkdir()
        (tmp_path / obstacle).write_text("")
    (tmp_path / "database" / "mlflow.db").mkdir(parents=True)
    at = {"logs": "logs/logs", "prefect": "prefect/prefect", "database": "database/mlflow.db"}.get(place, place)
    with pytest.raises(
        DependencyError, match=rf"but {tmp_path / at} cannot be written: .*another folder with HEADSTART_"
    ):
        home.configure(tmp_path / place)


def test_a_disk_without_room_is_named_with_what_is_free(environment, monkeypatch):
    environment()
    free = [home.FULL - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    assert f"The disk of {home.home()} is full: 1.0 MB are free" in home.full()
    free[0] = home.FULL
    assert home.full() == ""
    assert "20 MB are needed" in home.full(home.START)


def test_a_home_whose_path_is_no_part_of_an_address_is_refused(environment, tmp_path):
    with pytest.raises(DependencyError, match=r"expected a path without #, found"):
        home.configure(tmp_path / "photos #2")


def test_an_empty_address_is_none_and_one_without_a_scheme_is_refused(environment):
    environment(PREFECT_API_URL=" ")
    assert "PREFECT_API_URL" not in os.environ
    with pytest.raises(DependencyError, match=r"PREFECT_API_URL: expected an .*found 'localhost:4200/api'"):
        environment(PREFECT_API_URL="localhost:4200/api")


@pytest.mark.parametrize(
    "address",
    [
        *("::::", "mlruns", "file:///tmp/mlruns", "sqlite://mlflow.db", "http:///mlflow"),
        *(
            "u:s3cret@host:5000",
            "postgresql//u:s3cret@host/db",
            "postgresql:/u:s3cret@host/db",
            "postgresql:/u/?password=s3cret",
        ),
    ],
)
def test_an_address_that_mlflow_cannot_use_is_refused_without_its_secrets(environment, address):
    with pytest.raises(DependencyError, match=r"MLFLOW_TRACKING_URI: .* sqlite:///FILE, http://HOST:PORT") as error:
        environment(MLFLOW_TRACKING_URI=address)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        *("sqlite:////tmp/a b.db", "sqlite+pysqlite:///x.db", "http://127.0.0.1:5000", "https://u:p@host/mlflow"),
        *("postgresql+psycopg2://u:p@host/db", "databricks", "databricks://profile"),
    ],
)
def test_an_address_that_mlflow_can_use_is_left_alone(environment, address):
    environment(MLFLOW_TRACKING_URI=address)
    assert os.environ["MLFLOW_TRACKING_URI"] == address


def test_an_address_is_shown_without_its_secrets():
    said = "refused: http://u:s3c@ret@h:1/a?x=1 (url='postgresql://u:p@h/db?password=s3cret')"
    assert without_secrets(said) == "refused: http://h:1/a (url='postgresql://h/db')"


@pytest.mark.parametrize("text", [b"[[[", b'active = "\xff"', b"profiles = 3", b"profiles.a = 3", None])
def test_profiles_of_prefect_that_cannot_be_read_are_named_with_what_to_do(environment, tmp_path, monkeypatch, text):
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")})
    file = tmp_path / "home" / "prefect" / "profiles.toml"
    file.parent.mkdir(parents=True)
    file.mkdir() if text is None else file.write_bytes(text)
    with pytest.raises(DependencyError, match=rf"{file}: expected .* as TOML, found .*\. Correct .* or move it away"):
        environment()


def test_a_wrong_setting_of_prefect_is_named_with_where_it_may_come_from(environment, tmp_path):
    from prefect.settings.models.logging import LoggingSettings

    environment(PREFECT_LOGGING_LEVEL="loud", PREFECT_PROFILES_PATH=str(tmp_path / "p.toml"))
    with pytest.raises(ValueError, match="LoggingSettings") as caught:
        LoggingSettings()
    said = home.wrong_setting(caught.value)
    assert said.startswith("Prefect's LoggingSettings, level: Input should be 'DEBUG',")
    assert f"found 'LOUD'. Correct the variable PREFECT_… of the environment, or the profile in {tmp_path}" in said
    assert home.wrong_setting(ValueError("another")) == ""


def test_servers_of_this_machine_are_never_asked_through_a_proxy(environment):
    environment(HTTPS_PROXY="http://proxy:3128", NO_PROXY="example.org")
    assert os.environ["NO_PROXY"] == "example.org,localhost,127.0.0.1,::1"
    assert os.environ["no_proxy"] == "localhost,127.0.0.1,::1"


def test_what_other_programs_ask_of_keras_is_not_obeyed(environment):
    environment(KERAS_BACKEND="no_such_library", TF_USE_LEGACY_KERAS="1")
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    assert "TF_USE_LEGACY_KERAS" not in os.environ
    # queue.py in the working folder is not what a child process imports.
    assert os.environ["PYTHONSAFEPATH"] == "1"


def test_a_full_disk_is_recognised_whichever_library_meets_it():
    sqlite = RuntimeError("the store failed")
    sqlite.__cause__ = sqlite3.OperationalError("database or disk is full")
    others = (
        OSError("LanceError(IO): Generic LocalFileSystem error: No space left on device (os error 28)"),
        OSError("[Errno 28] Can't write data (file write failed: errno = 28, error message = '...')"),
        OSError("65536 requested and 4096 written"),
    )
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, ""), sqlite, *others):
        assert disk_full(error).startswith("The disk is full: ")
    assert disk_full(OSError(errno.EACCES, "Permission denied")) == ""


def test_the_folder_of_a_person_who_is_not_there_is_a_path_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home.expanded("~/a") == tmp_path / "a"
    assert str(home.expanded("~nosuchuser/a")) == "~nosuchuser/a"


def test_what_cannot_be_written_is_named():
    for number in (errno.EROFS, errno.EACCES, errno.EISDIR, errno.EFBIG):
        error = OSError(number, os.strerror(number), "/home/store/x")
        assert not_writable(error).startswith(
            f"Expected to read and write /home/store/x, but it cannot: {error.strerror}"
        )
    readonly = sqlite3.OperationalError("attempt to write a readonly database")
    assert "the database of the home folder" in not_writable(readonly)
    assert not_writable(OSError(errno.ECONNREFUSED, "refused", "x")) == not_writable(ValueError("x")) == ""


def test_a_path_that_is_too_long_is_refused():
    with pytest.raises(UsageError, match=r"Expected a path, found 'xxx.*: File name too long"):
        home.expanded("x" * 3000)
