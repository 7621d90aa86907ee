"""Which runs new data start."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flows import EntrypointType
from prefect.states import Completed, Crashed, Failed, Running

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


def test_files_start_one_run_and_again_only_where_its_process_has_died():
    assert triggers.handled("birds") == ""
    run = _begin("one")
    assert triggers.handled("birds") == "one"
    for state in (Running(), Failed(), Completed()):
        _becomes(run, state)
        assert triggers.handled("birds") == "one", state.type
    begun = {run}
    for _ in range(triggers.ATTEMPTS - 1):
        _becomes(run, Crashed())
        assert triggers.handled("birds") == ""
        begun.add(run := _begin("one"))
        assert triggers.handled("birds") == "one"
    assert len(begun) == triggers.ATTEMPTS
    _becomes(run, Crashed())
    assert triggers.handled("birds") == "one"
    # Other files are counted anew.
    _becomes(_begin("two"), Crashed())
    assert triggers.handled("birds") == ""


def test_a_waiting_run_includes_what_comes_meanwhile():
    first = _begin("three", "ants")
    assert _begin("four", "ants") == first
    assert triggers.handled("ants") == "four"
    _becomes(first, Crashed())
    assert triggers.handled("ants") == ""
