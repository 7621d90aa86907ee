"""KerasHub's networks: flat, cut at blocks, the same as KerasHub's own, and back from a file."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tasks.networks import pooling
from tasks.networks.backbones import _hub_graphs, hub
from tasks.networks.weights import presets
from tasks.runtime.errors import DependencyError, UsageError
from tasks.services.registry import registration

VIT = {"patch_size": 16, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
ENCODER = {"patch_size": 16, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
DINOV2 = ENCODER | {"patch_size": 14, "position_embedding_shape": [98, 98], "num_register_tokens": 2}
TRANSFORMERS = {
    "ViT": VIT,
    "DeiT": ENCODER,
    "DINOV2": DINOV2,
    "DINOV3": ENCODER | {"num_register_tokens": 2},
    "CLIP": ENCODER,
    "MetaCLIP2": ENCODER,
    "SigLIP": ENCODER,
}
#: Tokens in front of the patches.
EXTRA = {"ViT": 1, "DeiT": 2, "DINOV2": 3, "DINOV3": 3, "CLIP": 1, "MetaCLIP2": 1}
CONVOLUTIONAL = {
    "ResNet": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [2, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
    },
    "DenseNet": {"stackwise_num_repeats": [2, 2], "growth_rate": 8},
    "VGG": {"stackwise_num_repeats": [1, 1, 2], "stackwise_num_filters": [8, 16, 16]},
    "CSPNet": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 2],
        "stackwise_strides": [1, 2],
        "stackwise_num_filters": [8, 16],
        "block_type": "dark_block",
        "stage_type": "dark",
    },
    "EfficientNet": {
        "stackwise_kernel_sizes": [3, 3, 5],
        "stackwise_num_repeats": [1, 2, 1],
        "stackwise_input_filters": [8, 8, 16],
        "stackwise_output_filters": [8, 16, 16],
        "stackwise_expansion_ratios": [1, 4, 4],
        "stackwise_squeeze_and_excite_ratios": [0, 0.25, 0.25],
        "stackwise_strides": [1, 2, 2],
        "stackwise_block_types": ["fused", "unfused", "v1"],
        "stackwise_width_coefficients": [1.0, 1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0, 1.0],
        "num_features": 32,
    },
    "MobileNet": {
        "stackwise_expansion": [[16, 24], [32, 32]],
        "stackwise_num_blocks": [2, 2],
        "stackwise_num_filters": [[16, 16], [24, 24]],
        "stackwise_kernel_size": [[3, 3], [5, 5]],
        "stackwise_num_strides": [[2, 1], [2, 1]],
        "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
        "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
        "stackwise_padding": [[1, 1], [2, 2]],
        "input_num_filters": 16,
        "output_num_filters": 32,
        "input_activation": "hard_swish",
        "output_activation": "hard_swish",
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "last_layer_filter": 64,
        "squeeze_and_excite": 0.5,
    },
    "HGNetV2": {
        "depths": [1, 2],
        "embedding_size": 8,
        "hidden_sizes": [16, 32],
        "stem_channels": [3, 8, 8],
        "hidden_act": "relu",
        "use_learnable_affine_block": True,
        "stackwise_stage_filters": [[8, 8, 16, 1, 2, 3], [16, 16, 32, 2, 2, 3]],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, True],
    },
    "MobileNetV5": {
        "stackwise_block_types": [["er"], ["uir", "mqa"]],
        "stackwise_num_blocks": [1, 2],
        "stackwise_num_filters": [[24], [48, 48]],
        "stackwise_strides": [[2], [2, 1]],
        "stackwise_act_layers": [["relu"], ["relu", "relu"]],
        "stackwise_exp_ratios": [[4.0], [6.0, 6.0]],
        "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5, 5]],
        "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
        "stackwise_exp_kernel_sizes": [[3], [0, 0]],
        "stackwise_pw_kernel_sizes": [[1], [0, 0]],
        "stackwise_num_heads": [[0], [0, 2]],
        "stackwise_key_dims": [[0], [0, 8]],
        "stackwise_value_dims": [[0], [0, 8]],
        "stackwise_kv_strides": [[0], [0, 1]],
        "stackwise_use_cpe": [[False], [False, False]],
        "num_features": 32,
        "msfa_output_resolution": 4,
    },
    "ViTDet": {
        "hidden_size": 16,
        "num_layers": 2,
        "intermediate_dim": 32,
        "num_heads": 2,
        "global_attention_layer_indices": [1],
        "patch_size": 16,
        "window_size": 2,
        "num_output_channels": 8,
    },
    "SwinTransformer": {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
    "Xception": {"stackwise_conv_filters": [[8, 16], [24, 24], [32]], "stackwise_pooling": [False, True, False]},
}
#: KerasHub's layers do not come back one by one, so this family is one block.
WHOLE = {
    "MiT": {
        "layerwise_depths": [1, 2],
        "num_layers": 2,
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [2, 1],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
        "hidden_dims": [8, 16],
    }
}
EVERY = TRANSFORMERS | CONVOLUTIONAL | WHOLE
PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")


def test_every_class_of_kerashub_that_takes_images_alone_is_tried_here():
    """A family that a new KerasHub brings needs a small network here."""
    assert set(EVERY) == set(presets.families()) - {"SAM3"}  # which segments


def _features(model):
    return model(PIXELS, training=False).numpy()


def _noise(model):
    """Weights that are neither 0 nor 1, so that a part that is left out shows."""
    random = np.random.default_rng(1)
    model.set_weights([w if w.dtype != "float32" else w + random.uniform(0, 0.1, w.shape) for w in model.get_weights()])


@pytest.mark.parametrize("family", EVERY)
def test_a_family_gives_a_feature_map_and_comes_back_from_a_file(family, tmp_path):
    import keras

    built = hub.build(64, "random", family=family, config=EVERY[family])
    features = _features(built.model)
    assert features.ndim == 4
    assert np.isfinite(features).all()
    assert features.std() > 0
    assert len(set(built.blocks)) == len(built.blocks)
    assert len(built.blocks) > 1 or family in WHOLE
    # Every block can be pooled.
    assert pooling.pooled(built, "pyramid").output_shape[1] >= 9 * features.shape[-1]
    built.model.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(_features(again), features)
    assert all(again.get_layer(block).output is not None for block in built.blocks)


@pytest.mark.parametrize("family", EVERY)
def test_the_flat_graph_computes_what_kerashub_computes(family):
    import keras

    network, (scale, offset) = hub._family(family, 64, EVERY[family])
    _noise(network)
    if family == "DINOV2":  # the trained positions, not those that were interpolated when it was built
        network.embeddings.interpolated_position_embeddings.assign(
            network.embeddings.interpolated_position_embeddings + 0.1
        )
    inputs = PIXELS * np.array(scale, "float32") + np.array(offset, "float32")
    own = network if family != "SigLIP" else keras.Model(network.input, network.post_layer_norm.output)
    expected = own(dict.fromkeys(own.input, inputs) if isinstance(own.input, dict) else inputs, training=False)
    expected = np.asarray(expected["stage2"] if isinstance(expected, dict) else expected)
    if expected.ndim == 3:
        side = int((expected.shape[1] - EXTRA.get(family, 0)) ** 0.5)
        expected = expected[:, EXTRA.get(family, 0) :].reshape(2, side, side, -1)
    tokens = "patches" if family in TRANSFORMERS else "auto"
    flat = _features(_hub_graphs.flat(network, 64, (scale, offset), tokens)[0])
    np.testing.assert_allclose(flat, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("family", EXTRA)
def test_the_class_token_is_kerashubs_first(family):
    network, (scale, offset) = hub._family(family, 64, EVERY[family])
    _noise(network)
    inputs = PIXELS * np.array(scale, "float32") + np.array(offset, "float32")
    expected = network(dict.fromkeys(network.input, inputs) if isinstance(network.input, dict) else inputs).numpy()
    model, blocks = _hub_graphs.flat(network, 64, (scale, offset), "auto")
    assert [name.removeprefix("encoder_") for name in blocks[-3:]] == ["block_0", "block_1", "block_2"]
    np.testing.assert_allclose(_features(model), expected[:, :1, None], rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.fixture
def folder(tmp_path):
    """A preset as KerasHub writes it: a ViT of 64 pixels with a range of its own."""
    import keras_hub

    network, _ = hub._family("ViT", 64, VIT)
    _noise(network)
    network.save_to_preset(str(tmp_path / "vit"))
    keras_hub.layers.ViTImageConverter(scale=[0.5, 0.25, 0.1], offset=[-1.0, 0.0, 2.0]).save_to_preset(
        str(tmp_path / "vit")
    )
    return tmp_path / "vit"


def test_a_folder_gives_weights_and_range_and_a_digest(folder, tmp_path, monkeypatch):
    import keras

    built = hub.build(64, preset=str(folder))
    network = keras.saving.deserialize_keras_object(json.loads((folder / "config.json").read_text()))
    network.load_weights(folder / "model.weights.h5")
    inputs = PIXELS * np.array([0.5, 0.25, 0.1], "float32") + np.array([-1, 0, 2], "float32")
    expected = network(inputs, training=False).numpy()[:, :1, None]
    np.testing.assert_allclose(_features(built.model), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())

    by_path = hub.build(64, str(folder / "model.weights.h5"), preset=str(folder))
    np.testing.assert_array_equal(_features(by_path.model), _features(built.model))
    assert abs(_features(hub.build(64, "random", preset=str(folder)).model) - expected).max() > 0.01

    digest = hub.weights_digest("preset", {"preset": str(folder)})
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    (tmp_path / "hub").mkdir()
    folder.rename(tmp_path / "hub" / "vit")
    assert hub.weights_digest("preset", {"preset": "vit"}) == digest
    (tmp_path / "hub" / "vit" / "image_converter.json").unlink()
    assert hub.weights_digest("preset", {"preset": "vit"}) != digest


def test_dinov2_takes_any_size_and_vit_says_which(folder, tmp_path):
    network, _ = hub._family("DINOV2", 98, DINOV2)
    network.save_to_preset(str(tmp_path / "dino"))
    assert hub.build(70, preset=str(tmp_path / "dino"), tokens="patches").model.output_shape == (None, 5, 5, 16)
    with pytest.raises(UsageError, match=r"images.size: expected 64, .* found 96"):
        hub.build(96, preset=str(folder))


@pytest.mark.parametrize("name", ["vit_base_patch16_224_imagenet", "resnet_18_imagenet"])
def test_without_a_network_the_error_says_which_files_go_where(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # the port that discards
    with pytest.raises(DependencyError) as caught:
        hub.build(224, preset=name)
    assert f"kaggle.com/models/keras/{'vit' if 'vit' in name else 'resnetv1'}/keras/{name}/" in str(caught.value)
    assert str(tmp_path / "hub" / name) in str(caught.value)
    assert hub.weights_digest("preset", {"preset": name}).startswith("keras/")


def _hostile(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.update(module="os", registered_name=None), "os.ViTBackbone: refused"),
        (lambda c: c["config"].update(name={"class_name": "system", "module": "os", "config": {}}), "os.system"),
        (lambda c: c["config"].update(name={"class_name": "Lambda", "module": "keras.layers", "config": {}}), "Lambda"),
        (lambda c: c.update(registered_name="keras_hub>BertTokenizer"), "keras_hub>BertTokenizer"),
        (lambda c: c.update(registered_name="keras_hub>NoSuch"), "keras_hub>NoSuch"),
    ],
)
def test_a_preset_with_other_classes_is_refused(folder, change, found):
    _hostile(folder, change)
    with pytest.raises(DependencyError, match=found):
        hub.build(64, preset=str(folder))


@pytest.mark.parametrize("weights", ["preset", "random"])
def test_a_preset_that_asks_for_more_than_its_weights_is_refused_before_it_is_built(folder, weights):
    _hostile(folder, lambda c: c["config"].update(mlp_dim=1_000_000))
    with pytest.raises(DependencyError, match=r"asks for \d+ weights or more, its arrays have"):
        hub.build(64, weights, preset=str(folder))


def test_a_converter_of_images_is_no_network_of_any_size(folder):
    import keras

    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(7)])
    text = json.dumps(keras.saving.serialize_keras_object(network)).replace('"units": 7', '"units": 10000000')
    (folder / "image_converter.json").write_text(text)
    with pytest.raises(DependencyError, match=r"image_converter\.json: .* asks for \d+ weights or more"):
        presets.pixel_range(folder)


def test_a_preset_with_a_pickle_or_without_a_configuration_is_refused(folder):
    (folder / "model.pkl").write_bytes(b"")
    with pytest.raises(DependencyError, match=r"model\.pkl: files that can run code"):
        hub.build(64, preset=str(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(DependencyError, match="expected a JSON object, found a list"):
        hub.build(64, preset=str(folder))


@pytest.mark.parametrize(
    ("options", "weights", "message"),
    [
        ({}, "random", "expected preset or family, found none"),
        ({"family": "ViT", "preset": "x"}, "random", "found both"),
        ({"family": "Vit"}, "random", "such as ViT"),
        ({"family": "Bert"}, "random", "found 'Bert'"),
        ({"family": "ViT", "config": VIT}, "preset", "expected random or a path"),
        (
            {"family": "ViT", "config": VIT | {"layers": 3}},
            "random",
            "arguments of ViTBackbone, image_shape, .* found layers",
        ),
        ({"family": "ViT", "config": VIT | {"patch_size": 15}}, "random", "divisible"),
        ({"family": "VGG", "config": CONVOLUTIONAL["VGG"], "tokens": "class"}, "random", "no tokens"),
        ({"family": "SigLIP", "config": ENCODER, "tokens": "class"}, "random", "without class token"),
        ({"preset": "dinov2_bas"}, "preset", "See dinov2_base"),
    ],
)
def test_wrong_options_are_explained(options, weights, message):
    with pytest.raises(UsageError, match=message):
        hub.build(64, weights, **options)


def test_a_saved_network_is_read_where_kerashub_was_not_imported(tmp_path):
    model = hub.build(64, "random", family="MobileNet", config=EVERY["MobileNet"]).model
    model.save(tmp_path / "network.keras")
    np.save(tmp_path / "pixels.npy", PIXELS)
    np.save(tmp_path / "expected.npy", _features(model))
    code = (
        "import sys, keras, numpy as np; from pathlib import Path; f = Path(sys.argv[1]);"
        "m = keras.saving.load_model(f / 'network.keras', safe_mode=True, compile=False);"
        "np.testing.assert_array_equal(m(np.load(f / 'pixels.npy'), training=False), np.load(f / 'expected.npy'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=300)


@pytest.mark.parametrize(("family", "needed"), [("ViT", False), ("DINOV2", True)])
def test_a_version_asks_for_kerashub_where_its_layers_are(family, needed, tmp_path):
    hub.build(64, "random", family=family, config=EVERY[family]).model.save(tmp_path / "network.keras")
    found = registration.requirements(tmp_path / "network.keras")
    assert any(line.startswith("keras==") for line in found)
    assert any(line.startswith("keras-hub==") for line in found) == needed


def test_the_choices_name_presets_and_import_nothing_heavy():
    code = (
        "import sys; from tasks.networks.backbones import hub; hub.choices();"
        "print([m for m in sys.modules if 'keras' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
    assert all(presets.handle(choice.options["preset"]) for choice in hub.choices())
    assert all(choice.weights == "downloaded at first use" for choice in hub.choices())
