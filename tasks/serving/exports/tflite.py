"""TensorFlow Lite, from prepared pixels to probabilities and novelty, float32; for phones and small boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.serving.package import Served

INPUT = "pixels: float32[n, size, size, 3], red, green, blue, 0 to 255, prepared as `images` says"
NAME = "model.tflite"


def write(served: Served, folder: Path) -> None:
    """With the signature `serving_default`."""
    served.network.export(str(folder / NAME), format="litert", verbose=False)


def answer(folder: Path, images: list[bytes], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """By LiteRT, TensorFlow Lite's runtime under its new name."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / NAME)).get_signature_runner("serving_default")
    return run(**{next(iter(run.get_input_details())): pixels})
