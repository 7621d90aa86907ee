"""The home folder, and an environment that other programs have filled."""

import errno
import os
import sqlite3

import pytest

from tasks.runtime import home
from tasks.runtime.errors import DependencyError, UsageError, disk_full


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets variables; what a test sets, and what `configure` sets, is put back."""
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def given(**values):
        os.environ.update(values)
        return home.configure(tmp_path / "home")

    return given


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_home_that_cannot_be_written_is_refused_with_the_reason(environment, tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyError, match=r"can be written at .*file.*Name another one with HEADSTART_HOME"):
        home.configure(tmp_path / place)


def test_a_home_whose_path_is_no_part_of_an_address_is_refused(environment, tmp_path):
    with pytest.raises(UsageError, match=r"expected a path without #, found"):
        home.configure(tmp_path / "photos #2")


def test_an_empty_address_is_none_and_one_without_a_scheme_is_refused(environment):
    environment(PREFECT_API_URL=" ")
    assert "PREFECT_API_URL" not in os.environ
    with pytest.raises(UsageError, match=r"PREFECT_API_URL: expected an address such as .*found 'localhost:4200/api'"):
        environment(PREFECT_API_URL="localhost:4200/api")


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
    for error in (OSError(errno.ENOSPC, "No space left on device"), sqlite):
        assert disk_full(error).startswith("The disk is full: ")
    assert disk_full(OSError(errno.EACCES, "Permission denied")) == ""
