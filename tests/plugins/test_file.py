"""A network out of a `.keras` file as a backbone."""

import helpers
import numpy as np
import pytest
from trouble import attacks

from tasks.networks import backend, classifiers, files, pooling
from tasks.networks.backbones import file
from tasks.runtime.errors import DependencyError, UsageError


@pytest.fixture
def saved(tmp_path):
    import keras

    backend.seed(0)
    net = keras.Sequential([keras.Input((32, 32, 3))])
    for number in range(3):
        net.add(keras.layers.Conv2D(4 + number, 3, 2, padding="same", name=f"conv_{number}"))
        net.add(keras.layers.BatchNormalization(name=f"norm_{number}"))
        net.add(keras.layers.ReLU(name=f"relu_{number}"))
    net.add(keras.layers.GlobalAveragePooling2D())
    net.add(keras.layers.Dense(5))
    net.save(tmp_path / "net.keras")
    return net, str(tmp_path / "net.keras")


def test_a_layer_that_is_called_like_ours_is_found_by_its_name(saved, tmp_path):
    import keras

    net, _ = saved
    maps = keras.layers.ReLU(name="head")(net.get_layer("conv_1").output)
    keras.Model(net.inputs, keras.layers.Conv2D(2, 1)(maps)).save(tmp_path / "theirs.keras")
    assert file.build(32, str(tmp_path / "theirs.keras"), layer="head").model.output_shape == (None, 8, 8, 5)


def test_a_keras_file_is_a_backbone_that_can_be_cut(saved):
    import keras

    net, path = saved
    built = file.build(32, path, values="-1 to 1")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    expected = keras.Model(net.inputs[0], net.get_layer("relu_2").output)(pixels / 127.5 - 1)
    np.testing.assert_allclose(built.model(pixels), expected, atol=1e-5)
    assert built.model.output_shape == (None, 4, 4, 6)
    assert len(built.blocks) >= 3
    assert all(built.model.get_layer(block) for block in built.blocks)
    assert len(file.weights_digest(path, {})) == 64
    # Another size than it was saved with, and another layer.
    other = file.build(48, path, layer="relu_1")
    assert other.model.output_shape == (None, 12, 12, 5)


def _tutorial(nested):
    """A classifier as Keras' guide to transfer learning writes it, and the map below its pooling."""
    import keras
    from keras import layers

    backend.seed(0)
    trained = keras.Input((32, 32, 3))
    x = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="dense" if nested else None)(trained)
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(6, 1, activation="sigmoid")(scale)])
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, 2, padding="same")(x))
    base = keras.Model(trained, layers.ReLU()(x), name="base")
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)], name="augmentation")
    pixels = keras.Input((32, 32, 3))
    scaled = layers.Rescaling(1 / 127.5, -1)(augmentation(pixels)) / 2.0 - 0.1  # operations, as preprocess_input has
    features = base(scaled, training=False) if nested else base.call(scaled)
    pooled = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(features))
    answers = layers.Dense(3, activation="softmax", name="dense")(pooled)
    return keras.Model(pixels, answers), keras.Model(pixels, features)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_whole_classifier_is_a_backbone_without_its_head_and_its_randomness(nested, suffix, tmp_path):
    network, features = _tutorial(nested)
    network.compile("adam", "sparse_categorical_crossentropy")
    network.save(tmp_path / f"classifier.{suffix}")
    built = file.build(32, str(tmp_path / f"classifier.{suffix}"))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = features(pixels, training=False)
    np.testing.assert_allclose(built.model(pixels, training=False), expected, atol=1e-5)
    assert not [layer for layer in built.model._flatten_layers() if "random" in layer.name]
    assert len(built.blocks) >= 2
    # It is trained, saved and read again like any other.
    again = files.load(_saved(built.model, tmp_path))
    np.testing.assert_allclose(again(pixels, training=False), expected, atol=1e-5)
    assert file.build(64, str(tmp_path / f"classifier.{suffix}")).model.output_shape == (None, 16, 16, 8)


def _saved(network, folder):
    network.save(folder / "again.keras")
    return folder / "again.keras"


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_an_h5_with_code_or_without_a_network_is_refused(tmp_path):
    import keras

    pixels = keras.Input((32, 32, 3))
    code = keras.layers.Lambda(lambda x: x / 255, output_shape=(32, 32, 3))(pixels)
    keras.Model(pixels, keras.layers.Conv2D(2, 3)(code)).save(tmp_path / "code.h5")
    with pytest.raises(DependencyError, match=r"code\.h5: .*it has a 'Lambda'.*Use Rescaling or operations instead"):
        file.build(32, str(tmp_path / "code.h5"))
    keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels)).save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(DependencyError, match=r"it has weights, but no network: save it with model\.save"):
        file.build(32, str(tmp_path / "net.weights.h5"))


def test_what_is_no_network_for_images_is_refused(saved, tmp_path):
    import keras

    _, path = saved
    with pytest.raises(UsageError, match=r"expected a layer of .*relu_2.*found 'relu_9'"):
        file.build(32, path, layer="relu_9")
    (tmp_path / "text.keras").write_text("no network")
    with pytest.raises(DependencyError, match=r"text\.keras: expected a network in a \.keras or \.h5 file"):
        file.build(32, str(tmp_path / "text.keras"))
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]).save(tmp_path / "flat.keras")
    with pytest.raises(UsageError, match=r"flat\.keras"):
        file.build(32, str(tmp_path / "flat.keras"))


@pytest.mark.parametrize(("attack", "found"), [("memory", "asks for 540000000 weights"), ("state", "with a state")])
def test_a_file_that_asks_for_a_larger_network_than_it_holds_is_refused_before_it_is_built(tmp_path, attack, found):
    _, read = getattr(attacks, f"keras_{attack}")(tmp_path)
    with pytest.raises(DependencyError, match=found):
        read()


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    evil, planted = helpers.hostile_keras(tmp_path, 32)
    with pytest.raises(DependencyError, match=r"evil\.keras.*Lambda"):
        file.build(32, str(evil))
    assert not planted.exists()


def test_a_savedmodel_is_a_backbone_that_cannot_be_cut(saved, tmp_path):
    import keras

    net, _ = saved
    features = keras.Model(net.inputs[0], net.get_layer("relu_2").output)
    features.export(tmp_path / "graph", verbose=False)
    built = file.build(32, str(tmp_path / "graph"), values="0 to 1")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(built.model(pixels), features(pixels / 255), atol=1e-5)
    assert built.model.output_shape == (None, 4, 4, 6)
    assert built.blocks == ()
    assert len(file.weights_digest(str(tmp_path / "graph"), {})) == 64
    # A whole classifier on it comes back from its folder.
    head = keras.Sequential([keras.layers.Dense(2, name="head")])
    network = classifiers.classifier(pooling.pooled(built, "avg"), head)
    expected = network.predict(pixels, verbose=0)
    assert files.save(network, tmp_path) == "network"
    again = files.load(tmp_path / "network")
    assert again.input_shape == (None, 32, 32, 3)
    np.testing.assert_allclose(again.predict(pixels, verbose=0), expected, atol=1e-6)
    with pytest.raises(UsageError, match=r"expected a network for images \[n, 48, 48, 3\]"):
        file.build(48, str(tmp_path / "graph"))
    net.export(tmp_path / "vector", verbose=False)
    assert file.build(32, str(tmp_path / "vector")).model.output_shape == (None, 1, 1, 5)


def test_a_graph_with_code_in_it_is_refused_and_not_run(tmp_path):
    import tensorflow as tf

    planted = tmp_path / "planted"

    class Evil(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3])])
        def serve(self, pixels):
            tf.io.write_file(str(planted), "here")
            return pixels

    tf.saved_model.save(Evil(), str(tmp_path / "evil"))
    with pytest.raises(DependencyError, match=r"evil: expected a graph that only computes, found WriteFile"):
        file.build(32, str(tmp_path / "evil"))
    assert not planted.exists()


@pytest.mark.parametrize("where", ["an initialiser", "a function"])
def test_a_function_that_is_taken_off_the_list_is_refused_and_not_run(tmp_path, where):
    """TensorFlow runs what an object of the graph names, whether the list has it or not."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    planted = tmp_path / "planted"

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="evil")

        def _initialize(self):
            tf.io.write_file(str(planted), "here")

    class Evil(tf.Module):
        def __init__(self):
            self.resource = Resource() if where == "an initialiser" else None

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3])])
        def serve(self, pixels):
            return tf.reduce_mean(pixels, [1, 2])

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3])])
        def other(self, pixels):
            tf.io.write_file(str(planted), "here")
            return pixels

    folder = tmp_path / "evil"
    tf.saved_model.save(Evil(), str(folder))
    planted.unlink(missing_ok=True)
    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0]
    for function in graph.graph_def.library.function:
        if any(node.op == "WriteFile" for node in function.node_def):
            graph.object_graph_def.concrete_functions.pop(function.signature.name, None)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(DependencyError, match="expected variables and functions that the SavedModel lists"):
        file.build(32, str(folder))
    assert not planted.exists()
