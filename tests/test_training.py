"""Fitting, freezing and its proof."""

import numpy as np
import pytest

from tasks.training import fit, networks, thaw


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 96)
    images = random.normal(size=(96, 8, 8, 3)).astype("float32") + labels[:, None, None, None]
    return images, labels


def _batches(images, labels):
    return fit.Batches(lambda positions: images[positions], labels)


def _network():
    import keras

    fit.seed_everything(0)
    x = pixels = keras.Input((8, 8, 3))
    for number in range(3):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
    backbone = keras.Model(pixels, x)
    features = keras.Input((4,))
    head = keras.Model(features, keras.layers.Dense(2, name="logits")(features), name="head")
    return networks.classifier(networks.pooled(backbone, "avg"), head)


PLAN = fit.Plan(epochs=3, patience=3, learning_rate=0.05, weight_decay=0.0, batch_size=16, seed=0)


def test_a_cut_network_gives_what_the_whole_gives(data):
    network = _network()
    trunk, top = networks.cut(network, "norm_1")
    logits = top.predict(trunk.predict(data[0], verbose=0), verbose=0)
    np.testing.assert_allclose(networks.softmax(logits), network.predict(data[0], verbose=0), atol=1e-5)


def test_only_what_is_thawed_changes_statistics_included(data):
    network = _network()
    trunk, top = networks.cut(network, "norm_1")
    thaw.freeze(trunk)
    thaw.thaw(top)
    before = {v.path: v.numpy().copy() for v in network.variables}
    frozen = thaw.frozen_variables(network)
    print_before = thaw.fingerprint(frozen)
    activations = trunk.predict(data[0], verbose=0)
    fit.fit(top, _batches(activations, data[1]), _batches(activations, data[1]), PLAN)
    thaw.check_frozen(print_before, frozen)
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
    before = thaw.fingerprint(statistics)
    fit.fit(model, _batches(*data), _batches(*data), PLAN)
    with pytest.raises(thaw.FrozenChanged, match="2 frozen variables"):
        thaw.check_frozen(before, statistics)


def test_the_same_seed_gives_the_same_weights(data):
    def trained(seed):
        fit.seed_everything(0)
        network = _network()
        _, top = networks.cut(network, "norm_0")
        inputs = np.random.default_rng(1).normal(size=(96, 8, 8, 4)).astype("float32")
        plan = fit.Plan(**{**PLAN.__dict__, "seed": seed})
        fit.fit(top, _batches(inputs, data[1]), _batches(inputs, data[1]), plan)
        return thaw.fingerprint(network.variables)

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


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
    networks.save(network, tmp_path / "network.keras")
    again = networks.load(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict(data[0], verbose=0), network.predict(data[0], verbose=0))
    evil = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    evil.save(tmp_path / "evil.keras")
    with pytest.raises(ValueError, match="lambda"):
        networks.load(tmp_path / "evil.keras")
