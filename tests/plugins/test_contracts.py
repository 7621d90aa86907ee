"""What every plugin of a kind must do; a new file is picked up by itself."""

import dataclasses
import os

import helpers
import numpy as np
import pandas as pd
import pytest

from tasks.evaluation import gates, metrics
from tasks.evaluation.gates import Case
from tasks.features.batches import Batches
from tasks.networks import heads
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.settings import Validation
from tasks.training import fit

#: Another one where tests/plugins/test_backend.py starts these tests in a process of their own.
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
EVERY = [(kind, name) for kind in plugins.KINDS for name in plugins.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_plugin_says_what_it_is_and_refuses_options_it_does_not_have(kind, name):
    assert (plugins.load(kind, name).__doc__ or "").strip()
    assert (plugins.entry(kind, name).__doc__ or "").strip()
    with pytest.raises(UsageError, match="no_such_option"):
        plugins.bind(kind, name, {"no_such_option": 1}, "here")


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
    bound = plugins.bind("sources", name, options, "source.options")
    rows = plugins.entry("sources", name)(**bound)
    assert {"uri", "label", "group", "split"} <= set(rows.columns)
    assert rows["uri"].is_unique
    assert rows["label"].nunique() >= 2 or name == "files"
    assert all(helpers.Path(uri).is_file() for uri in rows["uri"][:10])
    pd.testing.assert_frame_equal(rows, plugins.entry("sources", name)(**bound))


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
    module, build = plugins.load("backbones", name), plugins.entry("backbones", name)
    size = max(choice.at_least, 64)
    built = build(size, "random", **plugins.bind("backbones", name, choice.options, "backbone.options"))
    assert built.model.input_shape == (None, size, size, 3)
    assert len(built.model.output_shape) == 4
    assert built.model.count_params() == choice.parameters
    assert len(set(built.blocks)) == len(built.blocks) > 1
    assert all(built.model.get_layer(block) for block in built.blocks)
    assert module.licence("random", choice.options)
    assert all(each.parameters and each.size and each.weights for each in module.choices())
    assert module.weights_digest("random", choice.options)
    if choice.parameters < LARGE:
        pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
        features = built.model(pixels, training=False)
        assert np.isfinite(features).all()
        again = build(size, "random", **choice.options)
        assert [layer.name for layer in again.model.layers] == [layer.name for layer in built.model.layers]
        np.testing.assert_allclose(again.model(pixels, training=False), features, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", [name for name in plugins.names("engines") if BACKEND in plugins.load("engines", name).BACKENDS]
)
def test_engine(name, tmp_path):
    import keras

    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels)))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")
    expected = model.predict(images.astype("float32"), verbose=0)
    for build in (lambda: model, lambda: model):
        engine = plugins.entry("engines", name)(build, tmp_path)
        assert engine.shape == (4,)
        outputs = list(engine.run(iter([images[:3], images[3:], images])))
        assert [len(output) for output in outputs] == [3, 2, 5]
        np.testing.assert_allclose(np.concatenate(outputs[:2]), expected, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(outputs[2], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", plugins.names("heads"))
def test_head(name, tmp_path):
    import keras

    module, random = plugins.load("heads", name), np.random.default_rng(0)
    for shape in ((6,), (2, 2, 3)):
        centres = random.normal(size=(3, *shape))
        labels = random.integers(0, 3, 60)
        features = (centres[labels] + random.normal(0, 0.3, (60, *shape))).astype("float32")
        model = module.build(shape, 3)
        assert model.predict(features, verbose=0).shape == (60, 3)
        if hasattr(module, "learn"):
            model = module.learn(heads.Examples(lambda rows: features[rows], labels), 3)  # noqa: B023
            assert bool(model.trainable_variables) == getattr(module, "TRAINABLE", True)
        else:
            batches = Batches(lambda positions: features[positions], labels)  # noqa: B023
            fit.fit(model, batches, batches, fit.Plan(20, 20, 0.02, 0.0, 16, seed=0))
        assert model.layers[-1].name == "logits"
        assert model.name == "head"
        logits = model.predict(features, verbose=0)
        assert np.isfinite(logits).all()
        assert (logits.argmax(1) == labels).mean() > 0.95
        # Logits, not probabilities.
        assert abs(logits.sum(1) - 1).min() > 1e-3
        model.save(tmp_path / "head.keras")
        again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
        np.testing.assert_allclose(again.predict(features, verbose=0), logits, atol=1e-5)


@pytest.mark.parametrize("name", plugins.names("metrics"))
def test_metric(name):
    assert plugins.load("metrics", name).HIGHER_IS_BETTER in (True, False)
    score = plugins.entry("metrics", name)
    labels = np.array([0, 1, 2, 0, 1, 2])
    right = np.eye(3)[labels] * 0.98 + 0.01 / 1.5
    right /= right.sum(axis=1, keepdims=True)
    wrong = np.roll(right, 1, axis=0)
    assert isinstance(score(labels, right), float)
    assert np.isfinite(score(labels, wrong))
    better = score(labels, right) < score(labels, wrong)
    assert better == (name in ("log_loss", "ece"))
    low, high = metrics.interval(name, labels, wrong, 0, np.array([0, 0, 1, 1, 2, 2]))
    assert low <= score(labels, wrong) <= high


@pytest.mark.parametrize("name", plugins.names("transferability"))
@pytest.mark.parametrize(("rows", "columns"), [(60, 8), (30, 90)])
def test_transferability(name, rows, columns):
    score, random = plugins.entry("transferability", name), np.random.default_rng(0)
    labels = np.arange(rows) % 3
    noise = random.normal(0, 1, (rows, columns)).astype("float32")
    apart = noise + 4 * np.eye(columns, dtype="float32")[labels]
    assert isinstance(score(apart, labels), float)
    assert score(apart, labels) > score(noise, labels)
    order = random.permutation(rows)
    assert score(apart[order], labels[order]) == pytest.approx(score(apart, labels), rel=1e-6)
    apart[:, :3] = 7
    for features in (apart, np.zeros_like(apart), np.ones_like(apart)):
        assert np.isfinite(score(features, labels))


@pytest.mark.parametrize("name", plugins.names("gates"))
def test_gate(name):
    labels = np.array([0, 1] * 20)
    good = np.eye(2)[labels] * 0.8 + 0.1
    check = plugins.entry("gates", name)
    case = Case(labels, ("a", "b"), good, latency=lambda: 5.0)
    first = check(case)
    assert (first.gate, first.outcome) == (name, "passed") or name == "max_calibration_error"
    for champion in (good, 1 - good):
        result = check(dataclasses.replace(case, champion=champion))
        assert result.gate == name
        assert result.outcome in ("passed", "failed", "undecided")
        assert result.reason
        assert all(isinstance(value, float) for value in result.numbers.values())
    broken = gates.run({name: {}}, dataclasses.replace(case, challenger=np.full_like(good, np.nan)))[0]
    assert broken.outcome == "failed"
    assert "could not be computed" in broken.reason


@pytest.mark.parametrize("name", plugins.names("expectations"))
def test_expectation_suite(name):
    from tasks.data.expectations import Case, evaluate

    rows = [
        {
            "uri": f"/photos/{label}/{split}{i}.png",
            "label": label,
            "split": split,
            "group": None,
            "key": f"{label}{split}{i}",
            "width": 50,
            "height": 40,
            "error": None,
        }
        for label in "ab"
        for split in ("train", "validation", "test")
        for i in range(3)
    ]
    images = pd.DataFrame(rows)
    before = images.assign(key=images["key"] + "before")
    for case in (Case(images, Validation()), Case(images, Validation(), before)):
        checks = plugins.entry("expectations", name)(case)
        findings = evaluate(checks)
        assert len(findings) == sum(len(check.expectations) for check in checks)
        assert all(finding.passed for finding in findings)
    assert findings
