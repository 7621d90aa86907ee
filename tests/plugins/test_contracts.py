"""What every plugin of a kind must do; a new file is picked up by itself."""

import os

import helpers
import numpy as np
import pandas as pd
import pytest

from flows.contracts import checks
from tasks.evaluation.gates import Case
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError

#: Another one where tests/plugins/test_backend.py starts these tests in a process of their own.
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
EVERY = [(kind, name) for kind in plugins.KINDS for name in plugins.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_plugin_says_what_it_is_and_refuses_options_it_does_not_have(kind, name):
    checks.described(kind, name)


def test_an_unknown_plugin_is_refused_with_the_names_that_exist():
    with pytest.raises(UsageError, match=r"linear.*found 'lineer'"):
        plugins.load("heads", "lineer")


@pytest.mark.parametrize("name", plugins.names("sources"))
def test_source(name, tmp_path):
    folder = helpers.photos(tmp_path / "photos", each=2)
    files = sorted(folder.rglob("*.png"))
    table = pd.DataFrame(
        {"image": [str(f.relative_to(folder)) for f in files], "label": [f.parent.name for f in files]}
    )
    table.to_csv(folder / "table.csv", index=False)
    options = {
        "files": {"path": folder},
        "folder": {"path": folder},
        "manifest": {"path": folder / "table.csv"},
        "tfds": {"name": "elpv"},
    }[name]
    checks.source(name, tmp_path, options)


#: Of the larger networks of each family nothing is asked but that they can be built, which takes minutes together.
LARGE = 4.5e6
NETWORKS = [
    pytest.param(
        name,
        choice,
        id=f"{name}-{next(iter(choice.options.values()))}",
        marks=[pytest.mark.system] if choice.parameters >= LARGE else [],
    )
    for name in plugins.names("backbones")
    for choice in getattr(plugins.load("backbones", name), "smallest", plugins.load("backbones", name).choices)()
]


@pytest.fixture
def values(choice, monkeypatch):
    """Nothing asks for the values of a large network, and drawing them is half of the work."""
    if choice.parameters >= LARGE:
        import keras

        for kind in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
            monkeypatch.setattr(kind, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype))


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize(("name", "choice"), NETWORKS)
def test_backbone(name, choice):
    checks.network(name, choice, values=choice.parameters < LARGE)


@pytest.mark.parametrize(
    "name", [name for name in plugins.names("engines") if BACKEND in plugins.load("engines", name).BACKENDS]
)
def test_engine(name, tmp_path):
    checks.engine(name, tmp_path)


@pytest.mark.parametrize("name", plugins.names("heads"))
def test_head(name, tmp_path):
    checks.head(name, tmp_path)


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (check, name)
        for check, kind in (
            (checks.metric, "metrics"),
            (checks.transferability, "transferability"),
            (checks.gate, "gates"),
            (checks.suite, "expectations"),
        )
        for name in plugins.names(kind)
    ],
)
def test_plugin(check, name, tmp_path):
    check(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in plugins.names("gates") if name != "max_calibration_error"])
def test_a_gate_of_ours_passes_a_good_first_model(name):
    labels = np.array([0, 1] * 20)
    case = Case(labels, ("a", "b"), np.eye(2)[labels] * 0.8 + 0.1, latency=lambda: 5.0)
    assert plugins.entry("gates", name)(case).outcome == "passed"
