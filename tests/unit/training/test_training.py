"""Fitting, freezing and its proof."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import helpers
import numpy as np
import pytest

from tasks.data.images import augment
from tasks.features.batches import Batches, joined
from tasks.networks import classifiers, cutting, ensembles, files, freezing
from tasks.networks.cutting import Backbone
from tasks.networks.pooling import levels, parts, pooled, summary, texture
from tasks.runtime import plugins
from tasks.settings.features import Pooling
from tasks.training import fit, saving


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 96)
    images = random.normal(size=(96, 8, 8, 3)) + labels[:, None, None, None]
    return images.astype("float32"), labels


def _batches(images, labels):
    return Batches(lambda positions: images[positions], labels)


def _backbone(size=8):
    import keras

    fit.seed_everything(0)
    x = pixels = keras.Input((size, size, 3))
    for number in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
    return Backbone(keras.Model(pixels, x), ("norm_0", "norm_1", "norm_2"))


def _features(pooling="avg"):
    """`joined`: beside the same network at two sizes."""
    if pooling == "joined":
        return pooled(replace(_backbone(), beside=(_backbone(4), _backbone())), "pyramid")
    return pooled(_backbone(), pooling)


def _network(pooling="avg", features=None):
    features = features or _features(pooling)
    return classifiers.classifier(features, plugins.entry("heads", "linear")(features.output_shape[1:], 2))


PLAN = fit.Plan(epochs=3, patience=3, learning_rate=0.05, weight_decay=0.0, batch_size=16, seed=0)


@pytest.mark.parametrize("pooling", ["avg", "avg_max_std", "multi_level", "pyramid", "texture", "joined", "none"])
@pytest.mark.parametrize("layer", ["norm_0", "norm_1"])
def test_a_cut_network_gives_what_the_whole_gives(data, pooling, layer):
    network = _network(pooling)
    trunk, top = cutting.cut(network, layer)
    assert len(trunk.output_shape) == 2
    logits = top.predict(trunk.predict(data[0], verbose=0), verbose=0)
    np.testing.assert_allclose(saving.softmax(logits), network.predict(data[0], verbose=0), atol=1e-5)


@pytest.mark.parametrize("pooling", ["avg", "pyramid", "texture", "joined", "none"])
def test_one_pass_gives_the_features_and_what_crosses_a_cut(data, pooling, tmp_path):
    features = _features(pooling)
    network = _network(features=features)
    network.save(tmp_path / "network.keras")
    below = cutting.trunk(features, "norm_1")
    after, _ = cutting.cut(files.load(tmp_path / "network.keras"), "norm_1")
    # What is stored of the one is found by the other.
    assert freezing.variables_digest(below.variables) == freezing.variables_digest(after.variables)
    both = cutting.both(features, below).predict(data[0], verbose=0)
    apart = [part.predict(data[0], verbose=0).reshape(len(both), -1) for part in (features, after)]
    np.testing.assert_allclose(both, np.concatenate(apart, axis=1), atol=1e-5)


def test_a_network_is_cut_where_several_tensors_cross(data):
    """As in NASNet, where each cell takes the last two, and in Xception, where a short cut passes a block by."""
    import keras

    pixels = keras.Input((8, 8, 3))
    before = first = keras.layers.Conv2D(4, 3, padding="same", name="first")(pixels)
    for number in range(3):
        cell = keras.layers.Conv2D(4, 3, padding="same", name=f"cell_{number}")(first)
        before, first = first, keras.layers.Average(name=f"sum_{number}")([before, cell])
    features = pooled(Backbone(keras.Model(pixels, first), ("sum_0", "cell_1", "sum_1")), "avg")
    network = classifiers.classifier(features, plugins.entry("heads", "mlp")(features.output_shape[1:], 2))
    for layer, crossing in (("first", 4), ("sum_0", 8), ("cell_1", 12)):
        trunk, top = cutting.cut(network, layer)
        assert trunk.output_shape == (None, 8 * 8 * crossing)
        logits = top.predict(trunk.predict(data[0], verbose=0), verbose=0)
        np.testing.assert_allclose(saving.softmax(logits), network.predict(data[0], verbose=0), atol=1e-5)
    assert {variable.path for variable in top.trainable_variables} >= {"cell_2/kernel", "cell_2/bias"}
    assert not {variable.path for variable in top.variables} & {"first/kernel", "cell_0/kernel", "cell_1/kernel"}


def test_poolings():
    import keras

    pixels = keras.Input((16, 16, 3))
    fine = keras.layers.Conv2D(4, 3, 2, padding="same", name="fine")(pixels)
    coarse = keras.layers.Conv2D(5, 3, 2, padding="same", name="coarse")(fine)
    top = keras.layers.Conv2D(6, 1, name="top")(coarse)
    backbone = Backbone(keras.Model(pixels, top), ("fine", "coarse"))
    images = np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype("float32")
    maps = keras.Model(pixels, [fine, coarse, top]).predict(images, verbose=0)
    seen = {p: pooled(backbone, p).predict(images, verbose=0) for p in get_args(Pooling)}
    statistics = [np.concatenate([m.mean((1, 2)), m.max((1, 2)), m.std((1, 2))], axis=1) for m in maps]
    np.testing.assert_allclose(seen["none"], maps[2], atol=1e-5)
    np.testing.assert_allclose(seen["avg"], maps[2].mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(seen["avg_max_std"], statistics[2], atol=1e-4)
    np.testing.assert_allclose(seen["multi_level"], np.concatenate(statistics, axis=1), atol=1e-4)
    np.testing.assert_allclose(seen["pyramid"], np.concatenate([_pyramid(m) for m in maps], axis=1), atol=1e-4)
    np.testing.assert_allclose(seen["texture"][:, sum(texture.PARTS) :], seen["pyramid"], atol=1e-4)
    assert levels(backbone) == ["fine", "coarse"]
    for pooling, values in seen.items():
        widths = parts(backbone, pooling)
        assert sum(widths) == np.prod(values.shape[1:])
        if pooling not in ("avg", "none"):
            np.testing.assert_allclose(values[:, slice(*summary(pooling, widths))], seen["avg"], atol=1e-5)


def _pyramid(maps):
    near = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2)).mean((-2, -1))
    half = maps.shape[1] // 2
    quarters = [maps[:, a : a + half, b : b + half].mean((1, 2)) for a in (0, half) for b in (0, half)]
    whole = [maps.mean((1, 2)), maps.max((1, 2)), maps.std((1, 2))]
    return np.concatenate([*whole, near.max((1, 2)), near.min((1, 2)), *quarters], axis=1)


def test_networks_are_joined_and_only_the_first_is_trained(data):
    one, other = _backbone(), _backbone(4)
    both = replace(one, beside=(other,))
    for pooling in ("avg", "texture"):
        joined = pooled(both, pooling)
        small = data[0].reshape(len(data[0]), 4, 2, 4, 2, 3).mean((2, 4))
        apart = pooled(other, "pyramid" if pooling == "texture" else pooling).predict(small, verbose=0)
        own = pooled(one, pooling).predict(data[0], verbose=0)
        first = sum(texture.PARTS) if pooling == "texture" else 0
        expected = np.concatenate([own[:, :first], apart, own[:, first:]], axis=1)
        np.testing.assert_allclose(joined.predict(data[0], verbose=0), expected, atol=1e-4)
        widths = parts(both, pooling)
        assert sum(widths) == joined.output_shape[1]
        assert summary(pooling, widths)[1] == (sum(widths) if pooling == "avg" else sum(widths) - 8 * 4)
        freezing.unfreeze(joined)
        trained = {variable.path for variable in joined.trainable_variables}
        assert trained == {f"conv_{n}/{kind}" for n in range(3) for kind in ("kernel", "bias")}


def test_a_patch_of_another_grain_stands_out_of_a_texture():
    import keras

    pixels = keras.Input((64, 64, 3))
    bank = keras.Model(pixels, texture.energies(pixels, "bank"))
    assert bank.output_shape == (None, sum(texture.PARTS)) and not bank.trainable_weights
    random = np.random.default_rng(0)
    photos = np.repeat(random.normal(128, 20, (8, 64, 64, 1)), 3, axis=-1).astype("float32")
    patched = photos.copy()
    patched[:, 20:32, 30:42] += 60 * np.sin(np.arange(12) * 2 * np.pi * texture.FREQUENCY)[:, None]
    before, after = bank.predict(photos, verbose=0), bank.predict(patched, verbose=0)
    most = texture.PARTS[0]  # in the first window, of the first octave: the largest energies of the eight filters
    gained = (after - before)[:, most : most + texture.ORIENTATIONS].mean(axis=0)
    assert gained.max() > 2 and gained[gained.argmax() - texture.ORIENTATIONS // 2] < 0.5
    # A brighter photo has no other grain.
    np.testing.assert_allclose(bank.predict(photos + 20, verbose=0), before, atol=1e-2)


def test_training_ends_when_its_minutes_are_over(data):
    plan = replace(PLAN, epochs=100_000, patience=100_000, minutes=0.01)
    history = fit.fit(classifiers.to_logits(_network()), _batches(*data), _batches(*data), plan)
    assert 0 < history.epochs < 100_000 and history.epochs == len(history.validation_loss)


def test_answers_of_networks_are_averaged_over_the_views_also_from_a_file(data, tmp_path):
    pixels, two, views = data[0], {"one": _network(), "other": _network()}, tuple(augment.VIEWS)
    for slope, network in zip((1.0, -2.0), two.values(), strict=True):
        network.set_weights([weights + 0.1 for weights in network.get_weights()])
        network.get_layer("head").set_weights([np.array([[slope, -slope]] * 4), np.zeros(2)])
    averaged = ensembles.averaged(two, views)
    each = [n.predict(augment.view(pixels, name), verbose=0) for n in two.values() for name in views]
    np.testing.assert_allclose(averaged.predict(pixels, verbose=0), np.mean(each, axis=0), atol=1e-5)
    assert np.ptp(each, axis=0).max() > 1e-4
    name = files.save(averaged, tmp_path)
    again = files.load(tmp_path / name)
    np.testing.assert_allclose(again.predict(pixels, verbose=0), averaged.predict(pixels, verbose=0), atol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "multi_level", "texture", "joined"])
def test_what_two_networks_have_in_common_is_computed_once(data, pooling):
    one, other = _network(pooling), _network(pooling)
    other.set_weights(one.get_weights())
    for layer in ("conv_2", "head"):
        other.get_layer(layer).set_weights([weights + 0.1 for weights in other.get_layer(layer).get_weights()])
    blocks = dict.fromkeys(("one", "other"), ("norm_0", "norm_1", "norm_2"))
    averaged = ensembles.averaged({"one": one, "other": other}, ("identity",), blocks)
    apart = ensembles.averaged({"one": one, "other": other}, ("identity",))
    np.testing.assert_allclose(averaged.predict(data[0], verbose=0), apart.predict(data[0], verbose=0), atol=1e-5)
    trunk, _ = cutting.cut(one, "norm_1")
    assert averaged.count_params() == one.count_params() + other.count_params() - trunk.count_params()
    assert apart.count_params() == one.count_params() + other.count_params()
    # One of another architecture has nothing in common with them.
    third = _network("none" if pooling == "avg" else "avg")
    blocks["third"] = ("norm_0",)
    three = ensembles.averaged({"one": one, "third": third, "other": other}, ("identity",), blocks)
    each = [network.predict(data[0], verbose=0) for network in (one, other, third)]
    np.testing.assert_allclose(three.predict(data[0], verbose=0), np.mean(each, axis=0), atol=1e-5)
    assert three.count_params() == averaged.count_params() + third.count_params()


def test_only_what_is_thawed_changes_statistics_included(data):
    network = _network()
    trunk, top = cutting.cut(network, "norm_1")
    freezing.freeze(trunk)
    freezing.unfreeze(top)
    before = {v.path: v.numpy().copy() for v in network.variables}
    frozen = freezing.frozen_variables(network)
    print_before = freezing.variables_digest(frozen)
    activations = trunk.predict(data[0], verbose=0)
    fit.fit(top, _batches(activations, data[1]), _batches(activations, data[1]), PLAN)
    freezing.check_frozen(print_before, frozen)
    changed = {v.path for v in network.variables if not np.array_equal(before[v.path], v.numpy())}
    assert {"conv_2/kernel", "logits/kernel"} <= {"/".join(path.split("/")[-2:]) for path in changed}
    assert all(path.split("/")[-2] in ("conv_2", "logits") for path in changed), changed


def test_the_documented_idiom_does_not_freeze_and_the_proof_notices(data):
    """`base(x, training=False)`, then `base.trainable = True`: the moving statistics drift all the same."""
    import keras

    base = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(pixels, training=False))
    model = keras.Model(pixels, keras.layers.Dense(2)(x))
    base.trainable = True
    statistics = [v for v in model.variables if "moving" in v.path]
    before = freezing.variables_digest(statistics)
    fit.fit(model, _batches(*data), _batches(*data), PLAN)
    with pytest.raises(freezing.FrozenChanged, match="2 frozen variables"):
        freezing.check_frozen(before, statistics)


def test_the_same_seed_gives_the_same_weights(data):
    def trained(seed):
        fit.seed_everything(0)
        network = _network()
        _, top = cutting.cut(network, "norm_0")
        inputs = np.random.default_rng(1).normal(size=(96, 8 * 8 * 4)).astype("float32")
        plan = fit.Plan(**{**PLAN.__dict__, "seed": seed})
        fit.fit(top, _batches(inputs, data[1]), _batches(inputs, data[1]), plan)
        return freezing.variables_digest(network.variables)

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


def test_what_other_threads_draw_from_the_generator_of_python_changes_no_weights():
    import keras

    def weights(others):
        fit.seed_everything(0)
        for _ in range(others):
            random.random()
        return keras.initializers.GlorotUniform()((2, 3))

    np.testing.assert_array_equal(weights(0), weights(1))


def test_training_stops_early_and_keeps_the_best_weights(data):
    import keras

    features = keras.Input((3,))
    model = keras.Model(features, keras.layers.Dense(2, kernel_initializer="zeros")(features))
    inputs, labels = data[0].mean((1, 2)), data[1]
    # Validation with the labels turned round: every step makes it worse.
    plan = fit.Plan(**{**PLAN.__dict__, "epochs": 50, "patience": 2})
    history = fit.fit(model, _batches(inputs, labels), _batches(inputs, 1 - labels), plan)
    assert history.epochs == 3
    kept = fit.scores(fit.predict(model, _batches(inputs, labels)), 1 - labels)
    assert kept["log_loss"] == pytest.approx(min(history.validation_loss), rel=1e-4)


def test_a_saved_network_is_the_same_and_code_in_a_file_is_refused(data, tmp_path):
    import keras

    network = _network()
    files.save(network, tmp_path)
    again = files.load(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict(data[0], verbose=0), network.predict(data[0], verbose=0))
    evil = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    evil.save(tmp_path / "evil.keras")
    with pytest.raises(ValueError, match="lambda"):
        files.load(tmp_path / "evil.keras")


MIRRORED = """
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
import test_training as t
from tasks.training import distribution, fit
from tasks.networks import cutting, freezing
import numpy as np
tf.distribute.MirroredStrategy.__init__.__defaults__ = (["CPU:0", "CPU:1"], None)
random = np.random.default_rng(0)
labels = random.integers(0, 2, 96)
images = random.normal(size=(96, 8, 8, 3)).astype("float32") + labels[:, None, None, None]
losses = []
for wanted in ("none", "mirrored"):
    with distribution.scope(wanted):
        network = t._network()
        top = cutting.cut(network, "norm_1")[1]
    print(wanted, top.distribute_strategy.num_replicas_in_sync)
    freezing.unfreeze(top)
    fit.seed_everything(0)
    batches = t._batches(cutting.cut(network, "norm_1")[0].predict(images, verbose=0), labels)
    # All rows in one batch: the order, which two devices draw otherwise, does not matter.
    losses.append(fit.fit(top, batches, batches, fit.Plan(**{**t.PLAN.__dict__, "batch_size": 96})).loss)
np.testing.assert_allclose(*losses, rtol=1e-4)
"""


@pytest.mark.skipif(os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="only TensorFlow mirrors")
def test_a_network_mirrored_on_two_devices_trains_as_on_one():
    """On two processors that TensorFlow makes of one, as no GPU is here; in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": f"{helpers.HERE}{os.pathsep}{Path(__file__).parent}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["none", "1", "mirrored", "2"]


def test_a_network_learns_shares_of_the_classes(data):
    """Towards equal shares every photo is answered with the same probability; a mixture of kinds of rows is read."""
    images, labels = data
    shares = np.full((len(labels), 2), 0.5, "float32")
    both = joined(Batches(lambda at: images[at], shares), Batches(lambda at: images[at] + 1, shares[:8]))
    np.testing.assert_array_equal(both.read(np.array([97, 3]))[0], images[1] + 1)
    np.testing.assert_array_equal(both.read(np.array([97, 3]))[1], images[3])
    network = _network()
    taught, told = classifiers.to_logits(network), classifiers.to_logits(_network())
    fit.fit(taught, both, _batches(images, labels), replace(PLAN, epochs=5, patience=9), only=5)
    fit.fit(told, _batches(images, labels), None, PLAN)
    unsure, sure = (
        np.abs(saving.softmax(fit.predict(each, _batches(images, labels))) - 0.5) for each in (taught, told)
    )
    assert unsure.mean() < 0.1 < sure.mean()


def test_networks_that_differ_in_names_and_values_alone_have_one_structure(tmp_path):
    one, other = (_network("pyramid") for _ in range(2))
    other.set_weights([value + 1 for value in other.get_weights()])
    other.get_layer("conv_1").trainable = False
    loaded = files.load(tmp_path / files.save(other, tmp_path))
    assert cutting.structure(one) == cutting.structure(other) == cutting.structure(loaded)
    assert cutting.same_places(("norm_0",), one, loaded) == ("norm_0",)
    for different in (_network("avg"), _network(features=pooled(_backbone(16), "pyramid"))):
        assert cutting.structure(one) != cutting.structure(different)


def test_a_row_with_more_weight_pulls_more(data):
    """Weights make two copies of one image with different labels a matter of which weighs more."""
    images, _ = data
    images, labels = np.repeat(images[:16], 2, axis=0), np.tile([0, 1], 16)
    for heavy in (0, 1):
        batches = replace(_batches(images, labels), weights=np.where(labels == heavy, 1.9, 0.1))
        model = classifiers.to_logits(_network())
        fit.fit(model, batches, None, replace(PLAN, epochs=20))
        assert (fit.predict(model, batches).argmax(axis=1) == heavy).all()
