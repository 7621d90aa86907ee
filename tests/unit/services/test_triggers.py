"""Which runs new data start."""

import json
import time
from datetime import timedelta

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flows import EntrypointType
from prefect.states import Completed, Crashed, Failed, Running

from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.services.orchestration import triggers

DEPLOYMENT = "trained-again/birds"


@flow
def trained_again(why: str) -> None: ...


@pytest.fixture(scope="module", autouse=True)
def deployment(server):
    trained_again.to_deployment("birds", entrypoint_type=EntrypointType.MODULE_PATH).apply()


def _begin(digest, recipe="birds"):
    """The number of the run that now stands for these files."""
    triggers.start(recipe, DEPLOYMENT, digest, "new data")
    return triggers._kept(recipe)["run"]


def _becomes(run, state):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, state, force=True)


@pytest.fixture
def later(monkeypatch):
    """Every pause is over."""
    monkeypatch.setattr(triggers, "PAUSE", timedelta(0))


def _failed(error):
    return Failed(message=f"Flow run encountered an exception: {type(error).__name__}: {error}")


@pytest.mark.usefixtures("later")
def test_files_start_one_run_and_no_other_where_that_would_end_the_same():
    assert triggers.handled("birds") == ""
    run = _begin("one")
    assert triggers.handled("birds") == "one"
    for state in (Running(), Completed(), _failed(DataError("no photos")), _failed(UsageError("no recipe"))):
        _becomes(run, state)
        assert triggers.handled("birds") == "one", state


@pytest.mark.usefixtures("later")
def test_a_run_that_came_to_nothing_is_started_again_four_times():
    begun = {run := _begin("two")}
    for state in (Crashed(), _failed(DependencyError("no space")), _failed(OSError()), Crashed()):
        _becomes(run, state)
        assert triggers.handled("birds") == ""
        begun.add(run := _begin("two"))
        assert triggers.handled("birds") == "two"
    assert len(begun) == triggers.ATTEMPTS
    _becomes(run, Crashed())
    assert triggers.handled("birds") == "two"
    # Other files are counted anew.
    _becomes(_begin("three"), Crashed())
    assert triggers.handled("birds") == ""


def test_files_that_are_again_what_they_were_start_a_run_of_their_own():
    begun = []
    for digest in ("with", "without", "with"):
        begun.append(_begin(digest, "wasps"))
        _becomes(begun[-1], Completed())
    assert len(set(begun)) == 3
    # Two who look at once start one run.
    again = triggers._kept("wasps")
    first = _begin("more", "wasps")
    triggers.Variable.set(triggers._variable("wasps"), json.dumps(again), overwrite=True)
    _becomes(first, Running())
    assert _begin("more", "wasps") == first


def test_it_is_started_again_after_a_pause(monkeypatch):
    _becomes(_begin("seven", "bees"), Crashed())
    assert triggers.handled("bees") == "seven"
    monkeypatch.setattr(triggers, "PAUSE", timedelta(seconds=0.1))
    time.sleep(0.2)
    assert triggers.handled("bees") == ""


@pytest.mark.usefixtures("later")
def test_a_waiting_run_includes_what_comes_meanwhile():
    first = _begin("three", "ants")
    assert _begin("four", "ants") == first
    assert triggers.handled("ants") == "four"
    _becomes(first, Crashed())
    assert triggers.handled("ants") == ""
