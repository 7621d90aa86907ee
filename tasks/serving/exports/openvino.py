"""OpenVINO, from prepared pixels to probabilities and novelty, float32; for Intel's and ARM's processors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.serving.package import Served

INPUT = "pixels: float32[n, size, size, 3], red, green, blue, 0 to 255, prepared as `images` says"
NAME = "model.xml"


def write(served: Served, folder: Path) -> None:
    """`model.xml` and the weights beside it, `model.bin`."""
    served.network.export(str(folder / NAME), format="openvino", verbose=False)


def answer(folder: Path, images: list[bytes], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """On a CPU, in float32."""
    import openvino as ov

    model = ov.Core().compile_model(folder / NAME, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = model(pixels)
    return {output.get_any_name(): outputs[output] for output in model.outputs}
