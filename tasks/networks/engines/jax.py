"""JAX: the network compiled once by XLA, for batches of one size; takes a GPU or TPU where JAX sees one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.networks.engines import Engine

if TYPE_CHECKING:
    import keras

BACKENDS = ("jax",)
#: Images in one call, whatever the size of the batches: XLA compiles again for each shape.
CHUNK = 32


def start(build: Callable[[], keras.Model], folder: Path) -> Engine:
    """The stateless call of the model, its weights as constants of the program; keeps nothing in the folder."""
    import jax

    model = build()
    trained, rest = ([v.value for v in each] for each in (model.trainable_variables, model.non_trainable_variables))

    @jax.jit
    def graph(pixels: jax.Array) -> jax.Array:
        return model.stateless_call(trained, rest, pixels.astype("float32"), training=False)[0]

    return Engine("jax", tuple(model.output_shape[1:]), lambda batches: _run(graph, batches))


def _run(graph: Callable[[np.ndarray], np.ndarray], batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Outputs of each batch in order; images are grouped into chunks, of which only the last is padded with zeros."""
    sizes: deque[int] = deque()
    outputs: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        for batch in batches:
            sizes.append(len(batch))
            yield from batch

    stream = images()
    while chunk := list(islice(stream, CHUNK)):
        full = np.zeros((CHUNK, *chunk[0].shape), np.uint8)
        full[: len(chunk)] = chunk
        outputs += list(np.asarray(graph(full))[: len(chunk)])
        while sizes and len(outputs) >= sizes[0]:
            yield np.stack(outputs[: sizes[0]])
            del outputs[: sizes.popleft()]
