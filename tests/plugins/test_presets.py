"""Presets in the formats of timm and transformers, and from an address."""

import itertools
import json

import numpy as np
import pytest

from tasks.networks.backbones import hub
from tasks.networks.weights import presets
from tasks.runtime.errors import DependencyError, UsageError

PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
TIMM = {
    "architecture": "mobilenetv3_small_050",
    "num_classes": 1000,
    "num_features": 1024,
    "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]},
}
DINOV3 = {
    "model_type": "dinov3_vit",
    "image_size": 224,
    "rope_theta": 100.0,
    "patch_size": 16,
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "layerscale_value": 1.0,
    "num_register_tokens": 2,
    "hidden_act": "gelu",
    "use_gated_mlp": False,
    "query_bias": True,
    "key_bias": False,
    "value_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "attention_dropout": 0.0,
    "drop_path_rate": 0.0,
    "layer_norm_eps": 1e-5,
}


def _foreign(folder, config):
    """A folder as timm or transformers writes it, with random weights; KerasHub's network with the same weights."""
    import safetensors.numpy
    from keras_hub.src.utils.preset_utils import get_preset_loader

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    loader, random = get_preset_loader(str(folder)), np.random.default_rng(0)
    shape = {"image_shape": (64, 64, 3)}
    network = loader.check_backbone_class()(**(loader.converter.convert_backbone_config(config) | shape))
    tensors = {}

    class Written:
        """Stands where KerasHub reads: makes the tensor that is asked for, in PyTorch's order of axes."""

        def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
            wanted = tuple(keras_variable.shape)
            values = random.uniform(0.1, 0.5, wanted).astype("float32")
            orders = [tuple(range(len(wanted))), *itertools.permutations(range(len(wanted)))]
            for order in [(3, 2, 0, 1), (2, 3, 0, 1), *orders] if len(wanted) == 4 else orders[::-1]:
                tensor = np.ascontiguousarray(values.transpose(order))
                read = hook_fn(tensor, list(wanted)) if hook_fn else tensor
                if read.shape == wanted:
                    keras_variable.assign(read)
                    tensors[hf_weight_key] = tensor
                    return
            raise AssertionError(hf_weight_key)

    loader.converter.convert_weights(network, Written(), config)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return network


@pytest.mark.parametrize("config", [TIMM, DINOV3], ids=["timm", "transformers"])
def test_a_folder_of_timm_or_transformers_gives_its_weights_and_its_range(config, tmp_path):
    network = _foreign(tmp_path / "net", config)
    if "model_type" in config:
        (tmp_path / "net" / "preprocessor_config.json").write_text(
            json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]})
        )
    built = hub.build(64, preset=str(tmp_path / "net"))
    inputs = (PIXELS / 255 - np.array([0.5, 0.4, 0.3], "float32")) / np.array([0.5, 0.25, 0.2], "float32")
    expected = network(dict.fromkeys(network.input, inputs) if isinstance(network.input, dict) else inputs).numpy()
    expected = expected if expected.ndim == 4 else expected[:, :1, None]
    found = built.model(PIXELS, training=False).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
    assert len(built.blocks) > 1
    assert len(presets.digest(str(tmp_path / "net"))) == 64


def test_an_architecture_without_a_twin_or_a_damaged_file_is_explained(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TIMM | {"architecture": "sknet"}))
    with pytest.raises(DependencyError, match=r"no converter for timm models .*sknet"):
        hub.build(64, preset=str(folder))
    (folder / "config.json").write_text(json.dumps(TIMM))
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match=r"expected a KerasHub preset, found a mistake: .*safetensors"):
        hub.build(64, preset=str(folder))


def test_an_address_at_hugging_face_is_read_like_a_folder_and_without_pickles(tmp_path, monkeypatch):
    import huggingface_hub

    _foreign(tmp_path / "net", DINOV3)
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(tmp_path / "net")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    options = {"preset": "hf://somebody/dino@v1"}
    assert hub.build(64, **options).model.output_shape == (None, 1, 1, 16)
    assert hub.weights_digest("preset", options) == presets.digest(str(tmp_path / "net"))
    assert asked[0][0] == "somebody/dino"
    assert asked[0][1]["revision"] == "v1"
    assert asked[0][1]["allow_patterns"] == ["*.json", "*.h5", "*.safetensors"]
    assert hub.licence("preset", options) == "see https://huggingface.co/somebody/dino"

    def fail(name, **options):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DependencyError, match=r"hf://somebody/dino@v1.*huggingface\.co/somebody/dino failed: no net"):
        hub.build(64, **options)


def test_the_encoder_of_images_is_taken_of_a_network_for_images_and_text(tmp_path):
    import keras_hub

    made = keras_hub.models
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    network = made.CLIPBackbone(
        made.CLIPVisionEncoder(patch_size=16, image_shape=(64, 64, 3), **sizes),
        made.CLIPTextEncoder(vocabulary_size=20, embedding_dim=16, max_sequence_length=8, **sizes),
        projection_dim=8,
    )
    network.save_to_preset(str(tmp_path / "clip"))
    built = hub.build(64, preset=str(tmp_path / "clip"), tokens="patches")
    assert built.model.output_shape == (None, 4, 4, 16)
    with pytest.raises(UsageError, match=r"images.size: expected 64, .* found 96"):
        hub.build(96, preset=str(tmp_path / "clip"))
    encoder = made.CLIPTextEncoder(vocabulary_size=20, embedding_dim=16, max_sequence_length=8, **sizes)
    encoder.save_to_preset(str(tmp_path / "text"))
    with pytest.raises(UsageError, match="expected a network for images"):
        hub.build(64, preset=str(tmp_path / "text"))
