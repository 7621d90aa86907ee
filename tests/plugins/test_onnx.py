"""Networks from ONNX files: the same features as ONNX Runtime computes, and what is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.networks import backbones
from tasks.runtime import plugins
from tasks.runtime.errors import DependencyError, UsageError
from tasks.settings import Candidate

SIDE = 33
RANDOM = np.random.default_rng(0)


def _weights(**shapes):
    return [
        numpy_helper.from_array((0.3 * RANDOM.normal(size=shape)).astype("float32"), n) for n, shape in shapes.items()
    ]


def _node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def _written(path, nodes, initializers, outputs, inputs=None):
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, made, initializers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path)
    return path


#: As PyTorch writes it: a strided stem, a depthwise block with squeeze and excitation, a residual, two joined branches.
NODES = [
    _node("Conv", "x w0 b0", "stem", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    _node("BatchNormalization", "stem s m0 m1 v", "norm"),
    _node("Clip", "norm low high", "relu6"),
    _node("MaxPool", "norm", "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    _node("Conv", "pool w1", "depthwise", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
    _node("HardSwish", "depthwise", "swish"),
    _node("GlobalAveragePool", "swish", "squeeze"),
    _node("Conv", "squeeze w2", "excite", kernel_shape=[1, 1]),
    _node("HardSigmoid", "excite", "gate", alpha=1 / 6),
    _node("Mul", "swish gate", "scaled"),
    _node("Add", "scaled pool", "residual"),
    _node("Conv", "residual w3", "grouped", kernel_shape=[3, 3], pads=[1, 0, 1, 0], group=2),
    _node("AveragePool", "residual", "mean", kernel_shape=[1, 3], strides=[1, 1], pads=[0, 0, 0, 0]),
    _node("LeakyRelu", "grouped", "leaky", alpha=0.2),
    _node("AveragePool", "leaky", "narrow", kernel_shape=[1, 1]),
    _node("Concat", "narrow mean", "joined", axis=1),
    _node("Sub", "joined shift", "shifted"),
    _node("Transpose", "shifted", "last", perm=[0, 2, 3, 1]),
    _node("LayerNormalization", "last g bb", "normed", axis=-1),
    _node("MatMul", "normed w4", "dense"),
    _node("Transpose", "dense", "map", perm=[0, 3, 1, 2]),
    _node("GlobalAveragePool", "map", "average"),
    _node("Flatten", "average", "flat"),
    _node("Gemm", "flat w5", "logits"),
]
NAMES = {"w0": (8, 3, 3, 3), "b0": (8,), "s": (8,), "m0": (8,), "m1": (8,), "w1": (8, 1, 3, 3), "w2": (8, 8, 1, 1)}
NAMES |= {"w3": (6, 4, 3, 3), "shift": (1, 14, 1, 1), "g": (14,), "bb": (14,), "w4": (14, 5), "w5": (5, 2)}


def _network(path, nodes=None, outputs=("map", "logits")):
    values = [
        numpy_helper.from_array(np.float32(0), "low"),
        numpy_helper.from_array(np.float32(6), "high"),
        numpy_helper.from_array(RANDOM.uniform(0.5, 2, 8).astype("float32"), "v"),
    ]
    return _written(path, nodes or NODES, [*values, *_weights(**NAMES)], outputs)


def _pixels(size=SIDE):
    return RANDOM.uniform(0, 255, (2, size, size, 3)).astype("float32")


def _theirs(path, pixels, output):
    scaled = ((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)
    return onnxruntime.InferenceSession(path).run([output], {"x": scaled})[0].transpose(0, 2, 3, 1)


def test_a_network_gives_what_onnx_runtime_gives_below_its_pooling(tmp_path):
    path = _network(tmp_path / "net.onnx")
    found = backbones.load(Candidate(kind="onnx", weights=str(path), options={"values": "-1 to 1"}), SIDE)
    pixels = _pixels()
    expected = _theirs(path, pixels, "map")
    np.testing.assert_allclose(found.model.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-4)
    assert found.model.output_shape[1:] == expected.shape[1:]
    assert len(found.blocks) > 1 and all(found.model.get_layer(block) for block in found.blocks)
    assert found.model.trainable_variables


def test_it_is_saved_and_loaded_and_takes_another_size(tmp_path):
    import keras

    path = _network(tmp_path / "net.onnx")
    found = backbones.load(Candidate(kind="onnx", weights=str(path)), 64).model
    found.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", compile=False)
    pixels = _pixels(64)
    np.testing.assert_allclose(again.predict(pixels, verbose=0), found.predict(pixels, verbose=0), atol=1e-5)


def test_a_tensor_can_be_named(tmp_path):
    path = _network(tmp_path / "net.onnx", outputs=("residual", "logits"))
    options = {"values": "-1 to 1", "layer": "residual"}
    found = backbones.load(Candidate(kind="onnx", weights=str(path), options=options), SIDE)
    pixels = _pixels()
    np.testing.assert_allclose(
        found.model.predict(pixels, verbose=0), _theirs(path, pixels, "residual"), rtol=1e-4, atol=1e-4
    )


def test_what_keras_exports_comes_back(tmp_path):
    """TensorFlow's networks have their channels last, with transpositions between."""
    import keras
    import tf2onnx

    network = plugins.entry("backbones", "efficientnet_lite")(64, "random").model
    inner = keras.Model(network.layers[2].input, network.output)  # what comes after the scaling
    inner.output_names = ["map"]
    tf2onnx.convert.from_keras(inner, output_path=str(tmp_path / "lite.onnx"))
    found = backbones.load(
        Candidate(kind="onnx", weights=str(tmp_path / "lite.onnx"), options={"values": "0 to 255"}), 64
    )
    pixels = _pixels(64)
    ours, theirs = found.model.predict(pixels, verbose=0), inner.predict(pixels, verbose=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


CONVOLUTION = _node("Conv", "x w0", "c", kernel_shape=[3, 3])


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [_node("Conv", "x w0", "c", kernel_shape=[3, 3]), _node("Einsum", "c", "map", equation="ij")],
            "Einsum is none of",
        ),
        ([_node("Conv", "x w0", "c", kernel_shape=[3, 3]), _node("Reshape", "c shape", "map")], "reshaped"),
        ([_node("MaxPool", "x", "map", kernel_shape=[2, 2], ceil_mode=1)], "ceil_mode"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(tmp_path, nodes, said):
    shape = numpy_helper.from_array(np.array([0, 2, 4, 961]), "shape")
    path = _written(tmp_path / "net.onnx", nodes, [*_weights(**NAMES), shape], ["map"])
    with pytest.raises(UsageError, match=said):
        backbones.load(Candidate(kind="onnx", weights=str(path)), SIDE)


def test_other_files_and_weights_beside_the_file_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(DependencyError, match="expected an ONNX file"):
        backbones.load(Candidate(kind="onnx", weights=str(tmp_path / "text.onnx")), SIDE)
    model = onnx.load(_network(tmp_path / "net.onnx"))
    onnx.save(model, tmp_path / "apart.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(UsageError, match=r"beside it\. Save it as one file"):
        backbones.load(Candidate(kind="onnx", weights=str(tmp_path / "apart.onnx")), SIDE)
