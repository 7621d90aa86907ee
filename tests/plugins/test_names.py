"""Keras numbers operations without a name anew in each process: what is added to a loaded network has other names."""

import os
import subprocess
import sys

import helpers
import pytest

MADE = """
import sys
from pathlib import Path

import keras
import numpy as np
import tiny_networks

from tasks.networks import backbones, classifiers, files, pooling
from tasks.runtime import plugins
from tasks.serving import calibrated
from tasks.settings.features import Candidate

folder = Path(sys.argv[1])


def textured(path):
    backbone = backbones.load(Candidate(kind="file", weights=str(path)), 64)
    features = pooling.pooled(backbone, "texture")
    return classifiers.classifier(features, plugins.entry("heads", "linear")(features.output_shape[1:], 3))

"""
CASES = {
    "a classifier gets its calibration": """
    network = textured(tiny_networks.backbone(folder / "backbone.keras"))
    network(np.zeros((1, 64, 64, 3)))
    files.save(network, folder)
    np.save(folder / "reference.npy", np.eye(5, network.get_layer("head").input.shape[-1]))
    keras.utils.clear_session()  # as in a new process
    found = tiny_networks.calibrated(str(folder / "reference.npy"))
    network = calibrated.joined(calibrated.with_calibration(files.load(folder / "network.keras"), found))
    """,
    "a stranger's network is a backbone": """
    maps = keras.Input((None, None, 8))
    part = keras.Model(maps, keras.ops.sqrt(keras.ops.mean(maps, axis=-1, keepdims=True) + 1) * maps / 3)
    pixels = keras.Input((64, 64, 3))
    maps = keras.layers.Conv2D(8, 3, 2, name="head")(pixels / 127.5 - 1)
    for name in ("probabilities", "pool_top", "still_texture", "unit", "calibrated"):
        maps = keras.layers.Conv2D(8, 3, name=name)(part(maps) / 2)
    keras.Model(pixels, maps).save(folder / "theirs.keras")
    keras.utils.clear_session()
    network = textured(folder / "theirs.keras")
    # Only the head is above the features.
    assert network.get_layer("head").input.shape == network.get_layer("pool").output.shape
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_added_to_a_loaded_network_has_names_of_its_own(case, tmp_path):
    code = MADE + CASES[case].replace("\n    ", "\n") + "print(len(network(np.zeros((2, 64, 64, 3)))))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(helpers.HERE)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "2", done.stderr
