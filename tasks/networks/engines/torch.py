"""PyTorch in inference mode, on the device where Keras places the network: a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.networks.engines import Engine

if TYPE_CHECKING:
    import keras
    import numpy as np

BACKENDS = ("torch",)
#: Images in one call on a CPU: what Keras copies between two layouts around each convolution then stays in the cache,
#: which makes it 1.2 to 1.6 times as fast as batches of 32.
CHUNK = 8


def start(build: Callable[[], keras.Model], folder: Path) -> Engine:
    """The Keras model, without the records that gradients need; keeps nothing in the folder."""
    import torch

    model = build()
    device = model.variables[0].value.device

    @torch.inference_mode()
    def outputs(batch: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(batch).to(device).float()
        parts = pixels.split(CHUNK if device.type == "cpu" else len(batch))
        return torch.cat([model(part, training=False) for part in parts]).cpu().numpy()

    def run(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        yield from map(outputs, batches)

    return Engine("torch", tuple(model.output_shape[1:]), run)
