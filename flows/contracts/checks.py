"""A function for each kind of plugin: it raises `AssertionError` where a plugin does not do what others count on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation import gates, metrics
from tasks.evaluation.gates import Case
from tasks.features.batches import Batches
from tasks.networks import files, heads
from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.settings import Validation
from tasks.training import fit


def run(kind: str, name: str, folder: Path) -> None:
    """Everything that a plugin of this kind must do. `folder`: an empty one, for files."""
    described(kind, name)
    checks: dict[str, Callable[[str, Path], None]] = {
        "sources": source,
        "expectations": suite,
        "backbones": backbone,
        "heads": head,
        "engines": engine,
        "transferability": transferability,
        "metrics": metric,
        "gates": gate,
    }
    if kind in checks:
        checks[kind](name, folder)


def described(kind: str, name: str) -> None:
    """It says what it is, and refuses options that it does not have."""
    assert (plugins.load(kind, name).__doc__ or "").strip(), "expected a docstring of the module"
    assert (plugins.entry(kind, name).__doc__ or "").strip(), "expected a docstring of its function"
    try:
        plugins.bind(kind, name, {"no_such_option": 1}, "here")
    except UsageError as error:
        assert "no_such_option" in str(error)
    else:
        raise AssertionError("expected an option that there is not to be refused")


def source(name: str, folder: Path, options: dict[str, Any] | None = None) -> None:
    """Rows of images, the same each time.

    `options`: for photos in the folder, class by class; by default those that the plugin's `example(folder)` gives,
    and without that function nothing is read.
    """
    if options is None:
        example = getattr(plugins.load("sources", name), "example", None)
        if example is None:
            return
        _photos(folder)
        options = example(folder)
    bound = plugins.bind("sources", name, options or {}, "source.options")
    rows, again = (plugins.entry("sources", name)(**bound) for _ in range(2))
    assert {"uri", "label", "group", "split"} <= set(rows.columns), "expected columns uri, label, group, split"
    assert rows["uri"].is_unique, "expected each image once"
    assert all(Path(uri).is_file() for uri in rows["uri"][:10] if "://" not in uri), "expected files that exist"
    assert rows.equals(again), "expected the same rows in the same order each time"


def backbone(name: str, folder: Path) -> None:
    """Each of its smallest networks can be cut, and says what it is."""
    module = plugins.load("backbones", name)
    for choice in getattr(module, "smallest", module.choices)():
        network(name, choice)


def network(name: str, choice: Any, values: bool = True) -> None:
    """One network of a backbone. `values`: whether its answers are looked at."""
    module, build = plugins.load("backbones", name), plugins.entry("backbones", name)
    size = max(choice.at_least, 64)
    built = build(size, "random", **plugins.bind("backbones", name, choice.options, "backbone.options"))
    assert built.model.input_shape == (None, size, size, 3), "expected photos of the asked size"
    assert len(built.model.output_shape) == 4, "expected a feature map"
    assert built.model.count_params() == choice.parameters, "expected as many parameters as its choice says"
    assert len(set(built.blocks)) == len(built.blocks) > 1, "expected two blocks or more, each once"
    assert all(built.model.get_layer(block) for block in built.blocks)
    assert module.licence("random", choice.options), "expected a licence of the weights"
    assert all(each.parameters and each.size and each.weights for each in module.choices())
    assert module.weights_digest("random", choice.options)
    if values:
        pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
        features = np.asarray(built.model(pixels, training=False))
        assert np.isfinite(features).all(), "expected finite features"
        again = build(size, "random", **choice.options)
        assert [layer.name for layer in again.model.layers] == [layer.name for layer in built.model.layers]
        np.testing.assert_allclose(again.model(pixels, training=False), features, rtol=1e-4, atol=1e-6)


def engine(name: str, folder: Path) -> None:
    """The same answers as Keras, whatever the batches."""
    model = plugins.entry("heads", "linear")((8, 8, 3), 4)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")
    expected = model.predict(images.astype("float32"), verbose=0)
    for _ in range(2):
        started = plugins.entry("engines", name)(lambda: model, folder)
        assert started.shape == (4,), "expected the shape of the network's output"
        outputs = list(started.run(iter([images[:3], images[3:], images])))
        assert [len(output) for output in outputs] == [3, 2, 5], "expected an answer for each batch"
        np.testing.assert_allclose(np.concatenate(outputs[:2]), expected, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(outputs[2], expected, rtol=1e-4, atol=1e-2)


def head(name: str, folder: Path) -> None:
    """It learns classes that lie apart, from vectors and from maps, and is the same after it was saved."""
    module, random = plugins.load("heads", name), np.random.default_rng(0)
    for shape in ((6,), (2, 2, 3)):
        centres = random.normal(size=(3, *shape))
        labels = random.integers(0, 3, 60)
        features = (centres[labels] + random.normal(0, 0.3, (60, *shape))).astype("float32")
        model = module.build(shape, 3)
        logits = model.predict(features, verbose=0)
        assert logits.shape == (60, 3), "expected a logit for each class"
        assert not np.allclose(logits.sum(1), 1), "expected logits, not probabilities"
        if hasattr(module, "learn"):
            model = module.learn(heads.Examples(features.__getitem__, labels), 3)
            assert bool(model.trainable_variables) == getattr(module, "TRAINABLE", True)
        else:
            batches = Batches(features.__getitem__, labels)
            fit.fit(model, batches, batches, fit.Plan(20, 20, 0.02, 0.0, 16, seed=0))
        assert model.layers[-1].name == "logits", "expected the last layer to be called logits"
        assert model.name == "head", "expected the model to be called head"
        logits = model.predict(features, verbose=0)
        assert np.isfinite(logits).all(), "expected finite logits"
        assert (logits.argmax(1) == labels).mean() > 0.95, "expected classes that lie apart to be learned"
        again = files.load(folder / files.save(model, folder))
        np.testing.assert_allclose(again.predict(features, verbose=0), logits, atol=1e-5)


def metric(name: str, folder: Path) -> None:
    """A number that says which of two models is better, and an interval around it."""
    higher, score = plugins.load("metrics", name).HIGHER_IS_BETTER, plugins.entry("metrics", name)
    labels = np.array([0, 1, 2, 0, 1, 2])
    right = np.eye(3)[labels] * 0.98 + 0.01 / 1.5
    right /= right.sum(axis=1, keepdims=True)
    wrong = np.roll(right, 1, axis=0)
    assert isinstance(score(labels, right), float), "expected a float"
    assert np.isfinite(score(labels, wrong)), "expected a finite value"
    assert (score(labels, right) > score(labels, wrong)) == higher, "expected HIGHER_IS_BETTER to say which is better"
    low, high = metrics.interval(name, labels, wrong, 0, np.array([0, 0, 1, 1, 2, 2]))
    assert low <= score(labels, wrong) <= high, "expected the value within its interval"


def transferability(name: str, folder: Path) -> None:
    """Features that tell the classes apart have the higher score, in any order; odd ones a finite score."""
    score, random = plugins.entry("transferability", name), np.random.default_rng(0)
    for rows, columns in ((60, 8), (30, 90)):
        labels = np.arange(rows) % 3
        noise = random.normal(0, 1, (rows, columns)).astype("float32")
        apart = noise + 4 * np.eye(columns, dtype="float32")[labels]
        found, order = score(apart, labels), random.permutation(rows)
        assert isinstance(found, float), "expected a float"
        assert found > score(noise, labels), "expected a higher score of better features"
        np.testing.assert_allclose(score(apart[order], labels[order]), found, rtol=1e-6)
        apart[:, :3] = 7
        for features in (apart, np.zeros_like(apart), np.ones_like(apart)):
            assert np.isfinite(score(features, labels)), "expected a finite score of constant features"


def gate(name: str, folder: Path) -> None:
    """An outcome with a reason, with and without a champion; answers that are no numbers do not pass."""
    labels = np.array([0, 1] * 20)
    good = np.eye(2)[labels] * 0.8 + 0.1
    check, case = plugins.entry("gates", name), Case(labels, ("a", "b"), good, latency=lambda: 5.0)
    for champion in (None, good, 1 - good):
        result = check(dataclasses.replace(case, champion=champion))
        assert result.gate == name, "expected its own name"
        assert result.outcome in ("passed", "failed", "undecided")
        assert result.reason, "expected a reason"
        assert all(isinstance(value, float) for value in result.numbers.values()), "expected numbers as floats"
    (broken,) = gates.run({name: {}}, dataclasses.replace(case, challenger=np.full_like(good, np.nan)))
    assert broken.outcome == "failed", "expected answers that are no numbers to fail"


def suite(name: str, folder: Path) -> None:
    """Good data pass, with and without a data set before."""
    from tasks.data import expectations

    images = good_images()
    before = images.assign(key=images["key"] + "before")
    for case in (expectations.Case(images, Validation()), expectations.Case(images, Validation(), before)):
        tables = plugins.entry("expectations", name)(case)
        findings = expectations.evaluate(tables)
        assert len(findings) == sum(len(each.expectations) for each in tables)
        assert all(finding.passed for finding in findings), "expected good data to pass"


def good_images() -> pd.DataFrame:
    """Facts of 18 images in two classes, without any fault."""
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
    return pd.DataFrame(rows)


def _photos(folder: Path) -> None:
    """Six photos in two classes."""
    from PIL import Image

    for label, colour in (("red", "#c00"), ("blue", "#00c")):
        (folder / label).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40 + number, 40), colour).save(folder / label / f"{number}.png")
