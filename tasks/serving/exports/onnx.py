"""ONNX, from prepared pixels to probabilities and novelty; for ONNX Runtime and other readers of its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.serving.package import Served

INPUT = "pixels: float32[n, size, size, 3], red, green, blue, 0 to 255, prepared as `images` says"
NAME = "model.onnx"


def write(served: Served, folder: Path) -> None:
    """By tf2onnx, through Keras."""
    import warnings

    with warnings.catch_warnings():
        # Keras uses `np.object`, which tf2onnx needs; NumPy 2 warns that its meaning will change.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        # Keras takes the names of the outputs from a call.
        served.network(np.zeros((1, *served.network.input_shape[1:]), np.float32))
        served.network.export(str(folder / NAME), format="onnx", verbose=False)


def answer(folder: Path, images: list[bytes], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """By ONNX Runtime on a CPU."""
    import onnxruntime

    model = onnxruntime.InferenceSession(folder / NAME, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.get_outputs()]
    return dict(zip(names, model.run(None, {model.get_inputs()[0].name: pixels}), strict=True))
