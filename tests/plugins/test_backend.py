"""Backends of Keras beside TensorFlow's, each in a process of its own; PyTorch's where it is installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import helpers
import numpy as np
import pandas as pd
import pytest

from tasks.networks import backend
from tasks.runtime.errors import DependencyError, UsageError

TESTS = Path(__file__).parents[1]
OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("torch", "jax")
]


@pytest.fixture(scope="module")
def trained(cold, tmp_path_factory):
    """Trains the small recipe in one home folder, with the backend that is asked for; answers are kept."""
    root, answers = tmp_path_factory.mktemp("backends"), {}
    brief = "[audit]\nenabled = false\n[transfer_check]\nenabled = false"
    (root / "r.toml").write_text(helpers.recipe(helpers.photos(root / "photos"), extra=brief))

    def train(name):
        if name not in answers:
            words = ("train", str(root / "r.toml"), "--json", "--set", f"backend={name}")
            # What the user's environment says loses.
            answers[name] = cold(*words, cwd=root, KERAS_BACKEND="torch" if name == "jax" else "jax")
        assert answers[name].code in (0, 1), answers[name].err
        return answers[name].json, root

    return train


@pytest.mark.parametrize("name", OTHERS)
def test_a_recipe_runs_on_another_backend_as_on_tensorflow(trained, name):
    (expected, _), (found, _) = trained("tensorflow"), trained(name)
    assert found["metrics"]["accuracy"] == pytest.approx(expected["metrics"]["accuracy"], abs=0.1)
    # The second meets the first as champion, and is no better than it.
    assert (expected["decision"], found["decision"]) == ("promote", "undecided")
    # The data are the same, what was computed from them is not.
    cached = {stage for stage, log in found["stages"].items() if log["cached"]}
    assert cached == {"ingest", "validate", "preprocess"}


@pytest.mark.parametrize("name", OTHERS)
def test_a_version_answers_the_same_on_every_backend(trained, cold, name):
    answer, root = trained(name)
    table = pd.read_parquet(Path(answer["figures"].removeprefix("file://")) / "predictions.parquet")
    expected = dict(zip(table["uri"], table["probability"], strict=True))
    for where in ("tensorflow", name):
        words = ("predict", f"colours/{answer['version']}", *expected, "--json")
        lines = cold(*words, cwd=root, KERAS_BACKEND=where).out.splitlines()
        found = {row["image"]: row["probability"] for row in map(json.loads, lines)}
        np.testing.assert_allclose([found[uri] for uri in expected], list(expected.values()), atol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_training_engines_and_heads_keep_their_promises_on_another_backend(name):
    """Freezing, cutting, seeds, cached and live trunks: the tests that the test process runs on TensorFlow."""
    tests = ("unit/training/test_training.py", "unit/features/test_features.py", "plugins/test_contracts.py")
    which = "cut_network or poolings or thawed or seed or early or saved or trunk_trains or test_engine or test_head"
    words = [sys.executable, "-m", "pytest", "-q", *(str(TESTS / test) for test in tests), "-k", which]
    done = subprocess.run(
        words, cwd=TESTS.parent, env=os.environ | {"KERAS_BACKEND": name}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_process_has_one_backend(monkeypatch):
    import keras

    assert keras.backend.backend() == backend.current() == "tensorflow"
    backend.use("tensorflow")
    monkeypatch.setattr(backend, "find_spec", lambda name: name)  # as if JAX were installed
    with pytest.raises(DependencyError, match=r"'jax', found it on 'tensorflow' already.*separate process"):
        backend.use("jax")


def test_a_backend_that_is_not_installed_is_refused_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyError, match=r"pip install 'headstart\[torch\]'"):
        backend.use("torch")


def test_an_engine_of_another_backend_is_refused(tmp_path):
    from tasks.networks import engines

    with pytest.raises(UsageError, match=r"jax runs networks of the backend jax, found backend = 'tensorflow'"):
        engines.start("jax", lambda: pytest.fail("built"), tmp_path, 32)
